"""Names of the refs that a rig's housekeeping works with, and what is found under them; whoever may push can choose such names."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

#: `<namespace>/<key>`, as the operator makes recovery keys.
_KEY: Final = r"(?P<key>[a-z0-9][-a-z0-9]{0,62}/[A-Za-z0-9-]{1,63})"
_UID: Final = r"(?P<rig>[A-Za-z0-9-]{1,63})"
_OWNER: Final = re.compile(f"rig/{_UID}/{_KEY}")
_MARK: Final = re.compile(f"gone/{_UID}/{_KEY}/(?P<since>[^/]+)")
_WORK: Final = re.compile(f"(?:wip|done)/{_KEY}/[0-9]+(?:-[0-9]+(?:-late)?)?")
_SECONDS: Final = re.compile("[0-9]{1,11}")


@attrs.define
class Traces:
    """What the server holds of one polecat.

    Attributes:
        owners: UIDs of the rigs that say it is theirs.
        marks: refs of one rig by the text that says since when it took the polecat for gone.
        work: checkpoints and done refs.
    """

    owners: set[str] = attrs.field(factory=set)
    marks: dict[str, str] = attrs.field(factory=dict)
    work: list[str] = attrs.field(factory=list)


@attrs.frozen
class RigRefs:
    """Refs of one rig.

    Args:
        prefix: the rig's `refPrefix`.
        rig: its UID.
    """

    prefix: str
    rig: str

    def owner(self, key: str) -> str:
        """Says that the recovery refs of this key are a polecat's of this rig."""
        return f"{self.prefix}/rig/{self.rig}/{key}"

    def mark(self, key: str, seconds: int) -> str:
        """Says since when no polecat has this key any more."""
        return f"{self.prefix}/gone/{self.rig}/{key}/{seconds}"

    @property
    def patterns(self) -> tuple[str, ...]:
        """What `git ls-remote` is asked for."""
        return tuple(f"{self.prefix}/{kind}/*" for kind in ("rig", "gone", "wip", "done"))

    def traces(self, names: Iterable[str]) -> Mapping[str, Traces]:
        """What is there of each key that this rig owns or has marked; names that we do not make are left out."""
        found: dict[str, Traces] = {}
        for name in names:
            if name.startswith(f"{self.prefix}/"):
                self._sort_in(name, name.removeprefix(f"{self.prefix}/"), found)
        return {key: it for key, it in found.items() if self.rig in it.owners or it.marks}

    def _sort_in(self, name: str, rest: str, found: dict[str, Traces]) -> None:
        if match := _WORK.fullmatch(rest):
            found.setdefault(match["key"], Traces()).work.append(name)
        elif match := _OWNER.fullmatch(rest):
            found.setdefault(match["key"], Traces()).owners.add(match["rig"])
        elif (match := _MARK.fullmatch(rest)) and match["rig"] == self.rig:
            found.setdefault(match["key"], Traces()).marks[match["since"]] = name


def seconds_of(text: str) -> int | None:
    """The time of a mark, in seconds since 1970; None for what is none."""
    return int(text) if _SECONDS.fullmatch(text) else None
