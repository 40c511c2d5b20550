"""Tests; run them with `python3 -m unittest`."""
