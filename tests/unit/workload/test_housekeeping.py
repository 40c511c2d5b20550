"""Refs of polecats that are gone leave a real git server; everything else on it stays."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import ceil
from pathlib import Path

import pytest
from attrs import define, evolve

from gastown_operator.workload.credentials import CredentialFiles, access
from gastown_operator.workload.errors import AttemptError
from gastown_operator.workload.housekeeping import BATCH, Housekeeping
from gastown_operator.workload.housekeeping_report import HousekeepingReport
from gastown_operator.workload.housekeeping_settings import HousekeepingSettings
from gastown_operator.workload.journal import JsonJournal
from gastown_operator.workload.living import keys
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.rig_refs import RigRefs
from hack.git_server.certificates import ensure_certificates
from hack.git_server.https import HttpsServer
from hack.git_server.repositories import Repositories
from tests.unit.workload.attempts import LOCAL_ACCESS

NOW = 1_800_000_000
KEEP = 1000
OURS, THEIRS = RigRefs("refs/gastown", "rig-a"), RigRefs("refs/gastown", "rig-b")
REFUSAL = '#!/bin/sh\ncase "$1" in refs/heads/*) ;; *) echo "branches only" >&2; exit 1;; esac\n'

NO_DELETION = '#!/bin/sh\ncase "$3" in *[!0]*) ;; *) echo "nothing is deleted here" >&2; exit 1;; esac\n'


@define
class House:
    """A repository on a server, and the rig `rig-a` whose housekeeping sees to it."""

    repositories: Repositories
    settings: HousekeepingSettings
    remote: Remote
    scratch: Path

    def put(self, *names: str) -> None:
        """Have refs on the server."""
        lines = "".join(f"create {name} refs/heads/main\n" for name in names)
        self.repositories.git("a", "update-ref", "--stdin", stdin=lines.encode())

    def polecat(self, key: str, rig: RigRefs = OURS) -> set[str]:
        """What a polecat that worked has left; the names."""
        names = {f"refs/gastown/wip/{key}/1", f"refs/gastown/done/{key}/1", rig.owner(key)}
        self.put(*names)
        return names

    def refs(self) -> set[str]:
        """Names of what is there besides branches."""
        return {name for name in self.repositories.refs("a") if not name.startswith("refs/heads/")}

    def run(
        self,
        living: Iterable[str] = (),
        *,
        now: Callable[[], float] = lambda: NOW,
        told_at: int = NOW,
        **changes: object,
    ) -> HousekeepingReport:
        """One run while these polecats live."""
        settings = evolve(self.settings, living=keys(living), told_at=told_at, **changes)  # type: ignore[arg-type]
        return Housekeeping(settings, self.remote, self.scratch, JsonJournal("housekeeping"), now).run()


@pytest.fixture
def house(tmp_path: Path) -> House:
    repositories = Repositories(tmp_path / "repositories")
    repositories.create("a", {"README.md": "A project.\n"})
    url = str(repositories.path("a"))
    settings = HousekeepingSettings(
        url, OURS, KEEP, keys(()), keys(()), (), NOW, "workers", "git-credentials"
    )
    return House(repositories, settings, Remote(url, LOCAL_ACCESS), tmp_path / "scratch.git")


@pytest.fixture
def server(house: House, tmp_path: Path) -> Iterator[HttpsServer]:
    """The same repository, where a password opens it."""
    certificates = ensure_certificates(tmp_path / "tls", "127.0.0.1")
    made = HttpsServer(house.repositories.root, "127.0.0.1", 0, certificates)
    made.accounts["us"] = "secret"
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("password", ["secret", "wrong"])
def test_the_rigs_credential_opens_the_server(
    house: House, server: HttpsServer, tmp_path: Path, password: str
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for name, text in {"username": "us", "password": password}.items():
        (secret / name).write_text(text)
    (secret / "ca.crt").write_text(server.certificates.authority.read_text())
    files = CredentialFiles(secret, "git-credentials", "workers", tmp_path / "none", tmp_path)
    url = server.url("a")
    house.remote = Remote(url, access(url, files, "yes"))
    house.polecat("workers/a")
    if password == "secret":
        assert house.run(landed=keys(["workers/a"])).deleted == 3
        return
    with pytest.raises(AttemptError, match="GitAuthenticationFailed"):
        house.run()


def test_a_polecat_that_is_gone_is_marked_at_once_and_its_refs_leave_when_they_were_kept_long_enough(
    house: House,
) -> None:
    gone, living = house.polecat("workers/gone"), house.polecat("workers/living")

    first = house.run(["workers/living"])

    assert house.refs() == gone | living | {OURS.mark("workers/gone", NOW)}
    assert (first.outcome, first.deleted, first.remaining) == (Outcome.SUCCEEDED, 0, 7)

    later = NOW + KEEP
    assert house.run(["workers/living"], now=lambda: later - 1, told_at=later).deleted == 0
    last = house.run(["workers/living"], now=lambda: later, told_at=later)

    assert house.refs() == living
    assert (last.deleted, last.remaining) == (4, 3)


def test_a_polecat_that_lives_again_is_not_marked_any_more(house: House) -> None:
    names = house.polecat("workers/a")
    house.put(OURS.mark("workers/a", NOW - KEEP))
    report = house.run(["workers/a"])
    assert house.refs() == names
    assert (report.deleted, report.remaining) == (0, 3)


def test_a_polecat_whose_merge_is_long_ago_leaves_at_once(house: House) -> None:
    house.polecat("workers/merged")
    report = house.run(landed=keys(["workers/merged"]))
    assert house.refs() == set()
    assert (report.deleted, report.remaining) == (3, 0)


def test_two_rigs_share_a_repository_and_each_sees_to_its_own_alone(house: House) -> None:
    theirs = house.polecat("workers/theirs", THEIRS)
    both = house.polecat("workers/both") | {THEIRS.owner("workers/both")}
    older = {"refs/gastown/wip/workers/nobody/1", "refs/gastown/done/workers/nobody/2"}
    house.put(THEIRS.owner("workers/both"), THEIRS.mark("workers/theirs", 1), *older)

    house.run()
    house.run(now=lambda: NOW + KEEP, told_at=NOW + KEEP)

    left = theirs | both | older | {THEIRS.mark("workers/theirs", 1)}
    assert house.refs() == left - {OURS.owner("workers/both")}


def test_namespaces_that_the_operator_does_not_see_are_left_alone(house: House) -> None:
    elsewhere = house.polecat("elsewhere/a")
    house.polecat("workers/a")
    house.run(namespaces=("workers",))
    house.run(namespaces=("workers",), now=lambda: NOW + KEEP, told_at=NOW + KEEP)
    assert house.refs() == elsewhere


def test_a_ref_that_moves_between_the_look_and_the_deletion_stays_and_so_does_what_says_whose_it_is(
    house: House,
) -> None:
    house.polecat("workers/a")
    house.put(OURS.mark("workers/a", NOW - KEEP))
    moved = house.repositories.commit("a", "polecat/a", {"a.txt": "a\n"}, message="Go on")

    def move() -> float:
        house.repositories.git("a", "update-ref", "refs/gastown/wip/workers/a/1", moved)
        return NOW

    report = house.run(now=move)

    kept = {"refs/gastown/wip/workers/a/1", OURS.owner("workers/a"), OURS.mark("workers/a", NOW - KEEP)}
    assert house.refs() == kept
    assert (report.outcome, report.deleted, report.remaining) == (Outcome.SUCCEEDED, 1, 3)
    assert house.run().remaining == 0
    assert house.refs() == set()


def test_a_server_that_refuses_deletions_is_told_with_its_own_words(house: House) -> None:
    names = house.polecat("workers/a") | {OURS.mark("workers/a", NOW - KEEP)}
    house.put(OURS.mark("workers/a", NOW - KEEP))
    house.repositories.install_hook("a", "update", NO_DELETION)
    report = house.run()
    assert house.refs() == names
    assert (report.outcome, report.reason) == (Outcome.CONFIG_ERROR, "RefsRefused")
    assert "refused 2 refs under refs/gastown" in report.message
    assert "nothing is deleted here" in report.message
    assert (report.deleted, report.remaining) == (0, 4)


def test_a_server_that_refuses_marks_is_told_too(house: House) -> None:
    names = house.polecat("workers/a")
    house.repositories.install_hook("a", "update", REFUSAL)
    report = house.run()
    assert house.refs() == names
    assert report.reason == "RefsRefused"
    assert "branches only" in report.message


def test_thousands_of_refs_leave_in_few_pushes_and_branches_stay(house: House) -> None:
    gone = [f"workers/gone-{number}" for number in range(120)]
    living = [f"workers/living-{number}" for number in range(380)]
    names = [
        name
        for key in gone
        for name in (
            f"refs/gastown/wip/{key}/1",
            f"refs/gastown/wip/{key}/1-2-late",
            OURS.owner(key),
            OURS.mark(key, NOW - KEEP),
        )
    ]
    kept = [f"refs/gastown/wip/{key}/{number}" for key in living for number in (1, 2, 3)]
    owners = [OURS.owner(key) for key in living]
    house.put(*names, *kept, *owners)
    pushes = house.repositories.root / "pushes"
    house.repositories.install_hook("a", "post-receive", f"#!/bin/sh\necho push >> {pushes}\n")

    report = house.run(living)

    assert (report.deleted, report.remaining) == (len(names), len(kept) + len(owners))
    assert house.refs() == {*kept, *owners}
    # Work first, then what says whose it was.
    assert len(pushes.read_text().split()) == 2 * ceil(len(names) / 2 / BATCH)
    assert "refs/heads/main" in house.repositories.refs("a")


HOSTILE = (
    "refs/heads/gastown/wip/workers/a/1",
    "refs/gastown-old/wip/workers/a/1",
    "refs/gastown/wip/workers/a/2/more",
    "refs/gastown/wip/workers/a/1-x",
    "refs/gastown/wip/workers/a/latest",
    "refs/gastown/wip/workers/ä/1",
    "refs/gastown/wip/Workers/a/1",
    "refs/gastown/other/workers/a/1",
    "refs/gastown/rig/rig-a/other",
    "refs/gastown/x/refs/gastown/wip/workers/a/1",
)


def test_names_that_we_do_not_make_stay_whatever_they_resemble(house: House) -> None:
    house.put(*HOSTILE)
    house.polecat("workers/a")
    before = house.repositories.refs("a")
    house.run()
    house.run(now=lambda: NOW + KEEP, told_at=NOW + KEEP)
    assert {name: before[name] for name in HOSTILE} == {
        name: commit for name, commit in house.repositories.refs("a").items() if name != "refs/heads/main"
    }


@pytest.mark.parametrize("shadow", ["wip/workers/a/1", f"gone/rig-a/workers/a/{NOW}"])
@pytest.mark.parametrize("space", ["refs/heads/", "refs/tags/"])
def test_a_branch_that_git_would_take_for_a_ref_of_ours_is_named_and_costs_no_other_polecat_anything(
    house: House, space: str, shadow: str
) -> None:
    names = house.polecat("workers/a") | {f"{space}refs/gastown/{shadow}"}
    house.put(f"{space}refs/gastown/{shadow}")
    house.polecat("workers/b")
    landed = keys(["workers/b", *(["workers/a"] if "wip" in shadow else [])])
    before = house.repositories.refs("a")

    report = house.run(landed=landed)

    assert house.repositories.refs("a") == {name: before[name] for name in {*names, "refs/heads/main"}}
    assert (report.reason, report.deleted, report.remaining) == ("RefsShadowed", 3, 3)
    assert f"git ls-remote origin '*/refs/gastown/{shadow}'" in report.message


def test_an_empty_repository_is_no_error(house: House) -> None:
    house.repositories.git("a", "update-ref", "-d", "refs/heads/main")
    assert house.run() == HousekeepingReport(
        Outcome.SUCCEEDED, "Succeeded", "removed 0 refs of polecats that are gone, 0 are there"
    )


@pytest.mark.parametrize("behind", ["own", "operator"])
def test_a_clock_that_is_behind_removes_nothing_early(house: House, behind: str) -> None:
    names = house.polecat("workers/a")
    year = 31_000_000
    clocks: Mapping[str, dict[str, object]] = {
        "own": {"now": lambda: NOW - year, "told_at": NOW},
        "operator": {"now": lambda: NOW, "told_at": NOW - year},
    }
    house.run(**clocks[behind])  # type: ignore[arg-type]  # a clock and a time
    assert house.refs() == names | {OURS.mark("workers/a", NOW)}
    house.run(**clocks[behind])  # type: ignore[arg-type]
    house.run(now=lambda: NOW + KEEP - 1, told_at=NOW + KEEP - 1)
    assert house.refs() == names | {OURS.mark("workers/a", NOW)}
