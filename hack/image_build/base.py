"""The base image: a small Debian, made from its packages because no registry can be assumed."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from hack.image_build.buildah import Buildah
from hack.image_build.logged import run
from hack.lab.progress import Progress

SUITE = "bookworm"
SOURCES = f"""\
deb http://deb.debian.org/debian {SUITE} main
deb http://deb.debian.org/debian {SUITE}-updates main
deb http://security.debian.org/debian-security {SUITE}-security main
"""
# As in Debian's own slim images: no documentation but the copyright notices.
WITHOUT_DOCUMENTATION = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""
EMPTIED = (
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)


def base_image() -> str:
    """Return the base image's name, which changes with its recipe."""
    recipe = "\n".join((SUITE, SOURCES, WITHOUT_DOCUMENTATION, *EMPTIED))
    return f"localhost/gastown-base:{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def build_base(image: str, buildah: Buildah, cache: Path, progress: Progress) -> None:
    """Build `image` from Debian's packages."""
    progress.say(f"base: debootstrap of Debian {SUITE} (about a minute)")
    with tempfile.TemporaryDirectory(prefix="base-", dir=cache) as directory:
        root = Path(directory) / "root"
        # Its own mount namespace takes the mounts away with it, however it ends: removing the directory is then safe.
        run(
            "debootstrap",
            ["unshare", "--mount", "debootstrap", "--variant=minbase", SUITE, str(root)],
            cache / "logs" / "debootstrap.log",
        )
        slim(root)
        progress.say(f"base: commit as {image}")
        buildah.commit_directory(root, image)


def slim(root: Path) -> None:
    """Point apt at the security updates and remove what images do not need."""
    (root / "etc/apt/sources.list").write_text(SOURCES)
    (root / "etc/dpkg/dpkg.cfg.d/without-documentation").write_text(WITHOUT_DOCUMENTATION)
    for name in EMPTIED:
        for entry in (root / name).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    for file in (root / "usr/share/doc").rglob("*"):
        if not file.is_dir() and file.name != "copyright":
            file.unlink()
