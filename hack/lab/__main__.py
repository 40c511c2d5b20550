"""Runs the lab's command line: ``python3 -m hack.lab``."""

import sys

from hack.lab.cli import main

sys.exit(main(sys.argv[1:]))
