"""What each image is built from, and the key that names one content."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A new number builds everything anew: raise it when the way of building changes, not what is built.
BUILD_FORMAT = "1"
KEY_LENGTH = 12


@dataclass(frozen=True)
class Target:
    """One target of the Containerfile; `inputs` are the files and folders that it copies."""

    name: str
    repository: str
    inputs: tuple[str, ...]

    def image(self, tag: str) -> str:
        """Return the full name of this image under `tag`."""
        return f"{self.repository}:{tag}"


ALWAYS = ("Containerfile", ".containerignore")
TARGETS = (
    Target(
        "operator",
        "localhost/gastown-operator",
        (*ALWAYS, "requirements/operator.txt", "hack/image_build/minimal_root.py", "gastown_operator"),
    ),
    Target(
        "workload",
        "localhost/gastown-workload",
        (
            *ALWAYS,
            "requirements/operator.txt",
            "gastown_operator/__init__.py",
            "gastown_operator/py.typed",
            "gastown_operator/agents/__init__.py",
            "gastown_operator/agents/prices.py",
            "gastown_operator/agents/result.py",
            "gastown_operator/gateway",
            "gastown_operator/workload",
        ),
    ),
    Target(
        "agent",
        "localhost/gastown-agent",
        (
            *ALWAYS,
            "hack/image_build/node.txt",
            "hack/image_build/claude_code",
            "hack/image_build/opencode",
            "hack/image_build/aider.txt",
        ),
    ),
)


def content_key(target: Target, root: Path, base: str) -> str:
    """Return the key of what `target` would contain now: equal keys, equal images.

    Names, contents and executability of the inputs count; byte code, times and owners do not. `base` is the name of
    the base image, which says its content.
    """
    digest = hashlib.sha256()
    for part in (BUILD_FORMAT, target.name, base):
        _update(digest, part.encode())
    for path in sorted(_files(target, root)):
        _update(digest, path.relative_to(root).as_posix().encode())
        _update(digest, b"x" if path.stat().st_mode & 0o100 else b"-")
        _update(digest, path.read_bytes())
    return digest.hexdigest()[:KEY_LENGTH]


def _update(digest: "hashlib._Hash", field: bytes) -> None:
    """Add `field` with its length, so that no two lists of fields look the same."""
    digest.update(len(field).to_bytes(8, "big"))
    digest.update(field)


def _files(target: Target, root: Path) -> Iterator[Path]:
    for name in target.inputs:
        path = root / name
        if not path.exists():
            raise FileNotFoundError(f"{name}, which the image {target.name} is built from, does not exist")
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc":
                yield file
