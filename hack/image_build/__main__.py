"""The command line of hack/images."""

import argparse
import dataclasses
import fcntl
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hack.image_build.builder import Builder, BuiltImage
from hack.image_build.errors import BuildError
from hack.image_build.host import PACKAGES, require_root
from hack.image_build.loading import Cluster
from hack.image_build.targets import TARGETS, Target
from hack.lab.errors import LabError
from hack.lab.packages import Apt
from hack.lab.progress import Progress

ROOT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="hack/images",
        description="Builds the container images as archives; one whose inputs have not changed is not built again.",
    )
    names = [target.name for target in TARGETS]
    parser.add_argument(
        "targets", nargs="*", metavar="IMAGE", help=f"{', '.join(names)}; default: all of them"
    )
    parser.add_argument("--no-agent", action="store_true", help="leave out the agent image, which is large")
    parser.add_argument("--base", help="base image from a registry; default: Debian made with debootstrap")
    parser.add_argument("--load", metavar="CLUSTER", help="load the images into this lab cluster")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(names):
        parser.error(f"no such image: {', '.join(sorted(unknown))} (there are {', '.join(names)})")
    return options


def selected(options: argparse.Namespace) -> list[Target]:
    """Return the targets that the options ask for."""
    names = options.targets or [target.name for target in TARGETS]
    return [
        target
        for target in TARGETS
        if target.name in names and not (target.name == "agent" and options.no_agent)
    ]


def cache_directory() -> Path:
    """Return where images, storage and logs are kept between runs."""
    if chosen := os.environ.get("GASTOWN_CACHE"):
        return Path(chosen) / "images"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "gastown-operator" / "images"


def as_json(built: Sequence[BuiltImage]) -> str:
    """Return the result for programs: an object with one member for each image."""
    return json.dumps({image.target: dataclasses.asdict(image) for image in built}, default=str)


def as_table(built: Sequence[BuiltImage]) -> str:
    """Return the result for people."""
    rows = [("IMAGE", "TAG", "SIZE", "SECONDS", "CACHED")]
    for image in built:
        repository, _, tag = image.image.rpartition(":")
        size = f"{image.bytes / MEGABYTE:.0f} MB"
        rows.append((repository, tag, size, f"{image.seconds:.1f}", "yes" if image.cached else "no"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, load and report; return the exit status."""
    options = parse(arguments)
    progress = Progress("hack/images")
    cache = cache_directory()
    os.umask(0o022)  # files of images are readable whoever builds them
    try:
        require_root()
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            Apt(progress).ensure(PACKAGES)
            built = Builder(ROOT, cache, options.base, progress).build(selected(options))
            if options.load:  # still under the lock, or another run might remove an archive as old
                Cluster(ROOT / "hack/cluster", options.load, progress).load(built)
    except (BuildError, LabError, OSError) as error:
        print(f"hack/images: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hack/images: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    print(as_json(built) if options.json else as_table(built))
    return 0


if __name__ == "__main__":
    sys.exit(main())
