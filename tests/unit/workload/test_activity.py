"""When an agent counts as active, and what the signs of it are."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.workload.activity import Activity, Signals
from gastown_operator.workload.sensors import Sensors
from gastown_operator.workload.transcript import TAIL_BYTES, Transcript
from gastown_operator.workload.tree_watch import TreeWatch

STARTED = Signals(transcript=100, tree=5, traffic=7, cpu=40)
#: Seen first at 100 s, then again without a change at 115 s.
SEEN = Activity(0.0).update(100.0, STARTED).update(115.0, STARTED)


def test_waiting_for_the_agents_container_is_no_idleness() -> None:
    waiting = Activity(0.0).update(600.0, Signals()).update(1200.0, Signals())
    started = waiting.update(1215.0, STARTED)

    assert waiting.idle(1200.0) == 0
    assert started.idle(1300.0) == 85


def test_an_agent_that_does_nothing_was_last_active_at_its_start() -> None:
    assert (SEEN.active_at, SEEN.by) == (100.0, "start")
    assert SEEN.idle(1000.0) == 900.0


@pytest.mark.parametrize(
    ("signals", "by"),
    [
        (attrs.evolve(STARTED, transcript=101), "transcript"),
        (attrs.evolve(STARTED, tree=6), "files"),
        (attrs.evolve(STARTED, traffic=8), "model"),
        (attrs.evolve(STARTED, cpu=40 + 30), "cpu"),
        (attrs.evolve(STARTED, cpu=40 + 29), ""),
        (attrs.evolve(STARTED, transcript=0), ""),
        (attrs.evolve(STARTED, transcript=None, cpu=None), ""),
        (attrs.evolve(STARTED, cpu=0), ""),
        (STARTED, ""),
    ],
    ids=[
        "printed",
        "changed a file",
        "talked to the model",
        "2 % of a core",
        "less than 2 % of a core",
        "a transcript that was cut",
        "hints that vanished",
        "CPU time that began anew",
        "nothing",
    ],
)
def test_what_counts_as_activity(signals: Signals, by: str) -> None:
    """15 s after the last look: 30 ticks are 2 % of a core."""
    after = SEEN.update(130.0, signals)

    assert after.active_at == (130.0 if by else 100.0)
    assert after.by == (by or "start")


def test_cpu_time_counts_over_no_shorter_time_than_it_is_sampled() -> None:
    soon = SEEN.update(116.0, attrs.evolve(STARTED, cpu=60))
    later = soon.update(130.0, attrs.evolve(STARTED, cpu=60))

    assert soon.active_at == 100.0
    assert later.active_at == 100.0


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_idleness_never_grows_faster_than_time_and_ends_with_any_output(
    steps: list[tuple[int, int, int]],
) -> None:
    now, activity, signals = 0.0, Activity(0.0), Signals(transcript=0, cpu=0)
    for seconds, printed, changed in steps:
        before = activity.idle(now)
        now += seconds
        signals = attrs.evolve(
            signals, transcript=(signals.transcript or 0) + printed, tree=signals.tree + changed
        )
        activity = activity.update(now, signals)
        assert activity.idle(now) <= before + seconds
        if printed or changed:
            assert activity.idle(now) == 0


def a_link(path: Path) -> None:
    """To a file that is no transcript."""
    (path.parent.parent / "secret").write_text("12345\n")
    path.symlink_to(path.parent.parent / "secret")


def a_fifo(path: Path) -> None:
    """That nobody writes to."""
    os.mkfifo(path)


def a_directory(path: Path) -> None:
    """With something in it."""
    (path / "in").mkdir(parents=True)


@pytest.fixture
def hints(tmp_path: Path) -> Path:
    """The directory that the agent can write to."""
    path = tmp_path / "hints"
    path.mkdir()
    return path


@pytest.mark.parametrize("make", [a_link, a_fifo, a_directory])
def test_what_is_in_the_place_of_a_hint_shows_nothing(
    hints: Path, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(hints / "transcript")
    make(hints / "cpu")
    transcript = Transcript(hints, maximum_bytes=0)
    sensors = Sensors(hints, tmp_path, transcript, TreeWatch(tmp_path / "gone"))

    signals = sensors.read()

    assert (signals.transcript, signals.cpu, transcript.tail()) == (None, None, b"")
    assert make is not a_link or (tmp_path / "secret").read_text() == "12345\n"


@pytest.mark.parametrize("text", ["", "many", "-1", "1" * 30, "1\n2\n", "\0"])
def test_cpu_time_that_is_no_number_shows_nothing(hints: Path, text: str) -> None:
    (hints / "cpu").write_text(text)

    assert Sensors(hints, hints, Transcript(hints), TreeWatch(hints / "gone")).read().cpu is None


def test_the_end_of_a_transcript_is_bounded(hints: Path) -> None:
    (hints / "transcript").write_bytes(b"first\n" + b"x" * TAIL_BYTES + b"last\n")

    tail = Transcript(hints).tail()

    assert len(tail) == TAIL_BYTES
    assert tail.endswith(b"xlast\n")


def test_a_large_transcript_is_cut_and_neither_its_end_nor_its_growth_is_lost(hints: Path) -> None:
    transcript = Transcript(hints, maximum_bytes=1000)
    file = hints / "transcript"
    file.write_bytes(b"x" * 1000 + b"result\n")

    transcript.keep_small()
    cut = file.stat().st_size
    with file.open("ab") as appended:
        appended.write(b"more\n")

    assert cut == 0
    assert transcript.size() == 1012
    assert transcript.tail().endswith(b"result\nmore\n")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A work tree with a git directory."""
    root = tmp_path / "repo"
    for name in (".git/objects/ab", ".git/refs/heads", "src/deep", "node_modules/it"):
        (root / name).mkdir(parents=True)
    for name in ("src/deep/a.py", "node_modules/it/index.js", ".git/index"):
        (root / name).write_text("1\n")
    return root


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("src/deep/a.py", True),
        ("src/deep/new.py", True),
        ("node_modules/it/index.js", True),
        (".git/index", True),
        (".git/refs/heads/fix", True),
        (".git/objects/ab/cdef", False),
    ],
)
def test_a_change_anywhere_shows(tree: Path, name: str, counts: bool) -> None:
    watch = TreeWatch(tree, newest=newest_change(tree))
    before = watch.look()
    changed = tree / name
    until_later(changed, before)

    assert watch.look() == (changed.stat().st_ctime_ns if counts else before)


def newest_change(root: Path) -> int:
    """Of everything below a directory."""
    return max(path.lstat().st_ctime_ns for path in (root, *root.rglob("*")))


def until_later(path: Path, moment: int) -> None:
    """Write a file until its change time is later: the kernel's clock for files goes in steps of some milliseconds."""
    while not path.exists() or path.stat().st_ctime_ns <= moment:
        path.write_text("2\n")


def test_a_look_is_bounded_and_the_next_ones_go_on(tmp_path: Path) -> None:
    root = tmp_path / "large"
    for number in range(20):
        (root / str(number)).mkdir(parents=True)
        for file in range(50):
            (root / str(number) / str(file)).touch()
    clock = ticking()
    watch = TreeWatch(root, newest=0, monotonic=lambda: next(clock), budget=1.5)

    looks = 1
    while watch.look() < newest_change(root) or watch._round is not None:
        looks += 1

    assert 5 <= looks <= 20


def ticking() -> Iterator[float]:
    """A clock that goes on by a second whenever it is read."""
    now = 0.0
    while True:
        yield now
        now += 1.0


def test_links_out_of_the_tree_are_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tree / "link").symlink_to(tmp_path / "outside")
    newest = newest_change(tree)
    watch = TreeWatch(tree, newest=newest)
    until_later(tmp_path / "outside" / "file", newest)

    assert watch.look() == newest


def test_a_directory_that_cannot_be_read_hides_nothing_else(tree: Path) -> None:
    deep = tree
    for _ in range(30):
        deep = deep / ("d" * 200)
        make_beneath(deep)
    watch = TreeWatch(tree, newest=0)

    assert watch.look() >= (tree / "src").stat().st_ctime_ns


def make_beneath(directory: Path) -> None:
    """Make a directory whose path may be longer than the kernel takes."""
    descriptor = os.open("/", os.O_RDONLY)
    try:
        for part in directory.parts[1:]:
            try:
                inner = os.open(part, os.O_RDONLY, dir_fd=descriptor)
            except FileNotFoundError:
                os.mkdir(part, dir_fd=descriptor)
                inner = os.open(part, os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        assert stat.S_ISDIR(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
