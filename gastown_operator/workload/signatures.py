"""What clone checked out, with the signature of every file: what still has it needs not be read again."""

import json
import os
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.git import Git
from gastown_operator.workload.tree_files import Signature, TreeFiles

GITLINK: Final = "160000"


@attrs.frozen
class Entry:
    """A path of a git tree: mode as git writes it, and the object."""

    mode: str
    object_id: str


@attrs.frozen
class Known:
    """A file whose object is known as long as its signature stays."""

    signature: Signature
    entry: Entry


def entries_of_index(git: Git) -> dict[bytes, Entry]:
    """Everything in the index; https://git-scm.com/docs/git-ls-files#_output."""
    entries: dict[bytes, Entry] = {}
    for line in git.run("ls-files", "--stage", "-z").split(b"\0"):
        described, _, path = line.partition(b"\t")
        if path:
            mode, object_id, _ = described.decode("ascii").split(" ")
            entries[path] = Entry(mode, object_id)
    return entries


def record(git: Git, repository: Path, file: Path) -> None:
    """Write down the files of a fresh checkout, before the agent can touch them.

    Raises:
        GitError, OSError: the index or the files cannot be read.
    """
    tree = TreeFiles(repository)
    with file.open("w", encoding="ascii") as lines:
        for path, entry in entries_of_index(git).items():
            signature = None if entry.mode == GITLINK else tree.signature(path)
            if signature is not None:
                name = os.fsdecode(path)
                lines.write(json.dumps([name, list(signature), entry.mode, entry.object_id]) + "\n")


def read(file: Path) -> dict[bytes, Known]:
    """What `record` wrote; nothing where there is no such file."""
    if not file.exists():
        return {}
    with file.open(encoding="ascii") as lines:
        known = (json.loads(line) for line in lines)
        return {
            os.fsencode(name): Known(Signature(*values), Entry(mode, oid))
            for name, values, mode, oid in known
        }
