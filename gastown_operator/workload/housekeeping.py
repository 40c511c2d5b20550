"""Removes the refs of polecats that are long gone from a rig's repository; it runs as a Job, and executes nothing of the repository."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from gastown_operator.workload.git import Git
from gastown_operator.workload.housekeeping_plan import HousekeepingPlan, Times, plan
from gastown_operator.workload.housekeeping_report import HousekeepingReport
from gastown_operator.workload.housekeeping_settings import HousekeepingSettings
from gastown_operator.workload.journal import Journal
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.refs import object_format
from gastown_operator.workload.remote import Remote, telling_line

PUSH_TIMEOUT: Final = 120.0
#: Refs of one push: few enough for a command line, many enough that thousands take seconds.
BATCH: Final = 200
#: The commit that marks hold is the same always, so that it is sent once.
_NOBODY: Final = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in {
        "NAME": "gastown-operator",
        "EMAIL": "operator@gastown.invalid",
        "DATE": "@946684800 +0000",
    }.items()
}


@attrs.define
class _Tally:
    """What pushes came to.

    Attributes:
        refusal: the server's first word on a ref that it does not let go, or take.
        refused: how many such refs there were.
    """

    refusal: str = ""
    refused: int = 0


@attrs.frozen
class Housekeeping:
    """One run.

    Args:
        scratch: where an empty repository can be made, since git pushes from one.
        wall: seconds since 1970.
    """

    settings: HousekeepingSettings
    remote: Remote
    scratch: Path
    journal: Journal
    wall: Callable[[], float] = time.time
    _tally: _Tally = attrs.field(init=False, factory=_Tally)

    def run(self) -> HousekeepingReport:
        """Look, decide, and push.

        Raises:
            AttemptError: the server cannot be reached or refuses the credential.
            GitError: a local git command failed.
        """
        seen = self.remote.advertised(self.settings.refs.patterns)
        now = int(self.wall())
        times = Times(min(now, self.settings.told_at), max(now, self.settings.told_at))
        decided = plan(self.settings, seen, times)
        if not (decided.mark or decided.unmark or decided.remove):
            return self._report(decided, decided.found, 0)
        git = self._repository(object_format(seen))
        marked = self._mark(git, decided)
        unmarked = self._delete(git, {name: seen[name] for name in decided.unmark})
        removed = self._remove(git, decided, seen)
        self.journal("housekeeping done", marked=marked, unmarked=len(unmarked), removed=removed)
        return self._report(decided, decided.found + marked - len(unmarked) - removed, removed)

    def _mark(self, git: Git, decided: HousekeepingPlan) -> int:
        """Push the marks; how many the server took."""
        if not decided.mark:
            return 0
        tree = git.line("mktree")
        commit = git.with_environment(_NOBODY, {}).line(
            "commit-tree", "-m", "No polecat has this key any more", tree
        )
        return len(self._push(git, dict.fromkeys(decided.mark, commit), dict.fromkeys(decided.mark, "")))

    def _remove(self, git: Git, decided: HousekeepingPlan, seen: Mapping[str, str]) -> int:
        """Delete the work of keys, and what says whose they are once nothing of their work is left."""
        work = self._delete(git, {name: seen[name] for it in decided.remove for name in it.work})
        done = [it for it in decided.remove if work.issuperset(it.work)]
        own = self._delete(git, {name: seen[name] for it in done for name in it.own})
        return len(work) + len(own)

    def _delete(self, git: Git, seen: Mapping[str, str]) -> set[str]:
        """Delete refs that are as they were seen; those that are gone now."""
        return self._push(git, dict.fromkeys(seen, ""), seen)

    def _push(self, git: Git, updates: Mapping[str, str], expected: Mapping[str, str]) -> set[str]:
        """Push in batches; the refs that are as they should be now. One that somebody moved meanwhile stays, without a word."""
        accepted: set[str] = set()
        for batch in _batches(updates):
            leases = {name: expected[name] for name in batch}
            result = self.remote.push(git, batch, expected=leases, atomic=False, timeout=PUSH_TIMEOUT)
            accepted |= {name for name, ref in result.refs.items() if ref.accepted}
            refused = [ref for ref in result.refs.values() if not (ref.accepted or ref.stale)]
            self._tally.refused += len(refused)
            if refused and not self._tally.refusal:
                said = telling_line(result.stderr)
                self._tally.refusal = f"{refused[0].name}: {refused[0].summary}{f'; {said}' if said else ''}"
        return accepted

    def _repository(self, hashes: str) -> Git:
        if self.scratch.exists():
            shutil.rmtree(self.scratch)
        self.scratch.mkdir(parents=True)
        git = Git(self.scratch)
        git.run("init", "--quiet", "--bare", "--template=", f"--object-format={hashes}", ".")
        return git

    def _report(self, decided: HousekeepingPlan, remaining: int, deleted: int) -> HousekeepingReport:
        if self._tally.refused:
            text = (
                f"the git server refused {self._tally.refused} refs under {self.settings.refs.prefix} ({self._tally.refusal}); "
                "allow the rig's credential to create and delete refs there, or set the rig's spec.housekeeping.suspend"
            )
            return HousekeepingReport(Outcome.CONFIG_ERROR, "RefsRefused", text, deleted, remaining)
        if decided.shadowed:
            text = (
                f"the refs of {len(decided.shadowed)} polecats stay, since a branch or a tag has a name that ends in one of theirs, so "
                f"that git cannot tell them apart; delete it: git ls-remote origin '*/{decided.shadowed[0]}'"
            )
            return HousekeepingReport(Outcome.CONFIG_ERROR, "RefsShadowed", text, deleted, remaining)
        text = f"removed {deleted} refs of polecats that are gone, {remaining} are there"
        return HousekeepingReport(Outcome.SUCCEEDED, "Succeeded", text, deleted, remaining)


def _batches(updates: Mapping[str, str]) -> Iterator[dict[str, str]]:
    items = list(updates.items())
    return (dict(items[at : at + BATCH]) for at in range(0, len(items), BATCH))
