"""The agent under the keeper's eyes: whether it is shown as active, and when it is asked to stop."""

import json
import time
from io import StringIO
from pathlib import Path

import attrs
import pytest

from gastown_operator.workload.activity import Signals
from gastown_operator.workload.journal import JsonJournal
from gastown_operator.workload.overseer import Overseer
from gastown_operator.workload.refs import RecoveryRefs
from gastown_operator.workload.settings import Settings

SETTINGS = Settings("https://git.example.invalid/r", "main", "work", RecoveryRefs("refs/g", "k", 1), 1, "n/p")


@attrs.define
class Run:
    """A clock, an agent that prints or does not, and the overseer of both."""

    root: Path
    settings: Settings
    deadline: float | None = None
    now: float = 0.0
    printed: int | None = 0
    log: StringIO = attrs.field(factory=StringIO)
    overseer: Overseer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start."""
        self.overseer = Overseer(
            self.settings,
            self.root,
            self.root / "active",
            lambda: Signals(self.printed),
            JsonJournal("keeper", self.log),
            lambda: self.now,
            self.deadline,
        )

    def go_on_until(self, end: float) -> None:
        """Tick whenever it is time, up to a moment."""
        self.overseer.tick()
        while (then := self.overseer.next_tick) <= end:
            self.now = then
            self.overseer.tick()
        self.now = end

    def prints(self) -> None:
        """The agent prints a line."""
        self.printed = (self.printed or 0) + 10

    @property
    def active(self) -> bool:
        """What the kubelet's probe finds."""
        return (self.root / "active").exists()

    @property
    def stop(self) -> str | None:
        """What the wrapper finds."""
        path = self.root / "stop"
        return path.read_text() if path.exists() else None

    def lines(self, message: str) -> list[dict[str, object]]:
        """What was said of something."""
        lines = (json.loads(line) for line in self.log.getvalue().splitlines())
        return [line for line in lines if line["msg"] == message]


def run(root: Path, deadline: float | None = None, **changes: object) -> Run:
    """A run with settings."""
    return Run(root, attrs.evolve(SETTINGS, **changes), deadline)  # type: ignore[arg-type]  # settings of any type


def test_an_agent_is_shown_as_active_until_the_threshold_has_passed(tmp_path: Path) -> None:
    it = run(tmp_path, stall_threshold=600.0)

    it.go_on_until(599.0)
    before = it.active
    it.go_on_until(616.0)

    assert (before, it.active) == (True, False)
    assert it.stop is None


def test_an_agent_that_prints_again_is_active_again(tmp_path: Path) -> None:
    it = run(tmp_path, stall_threshold=600.0)
    it.go_on_until(900.0)
    it.prints()

    it.go_on_until(916.0)

    assert it.active


def test_an_agent_whose_image_is_still_pulled_is_not_idle(tmp_path: Path) -> None:
    it = run(tmp_path, stall_threshold=60.0, idle_limit=120.0)
    it.printed = None

    it.go_on_until(3600.0)

    assert (it.active, it.stop) == (True, None)


def test_an_agent_that_does_nothing_for_its_limit_is_asked_to_stop(tmp_path: Path) -> None:
    it = run(tmp_path, idle_limit=300.0)
    it.go_on_until(200.0)
    it.prints()
    it.go_on_until(500.0)
    before = it.stop

    it.go_on_until(530.0)

    assert (before, it.stop) == (None, "idle\n")


def test_an_agent_that_works_is_never_asked_to_stop(tmp_path: Path) -> None:
    it = run(tmp_path, idle_limit=300.0)
    for minute in range(1, 120):
        it.prints()
        it.go_on_until(minute * 60.0)

    assert it.stop is None


def test_the_deadline_comes_to_the_second(tmp_path: Path) -> None:
    it = run(tmp_path, deadline=1001.0)

    it.go_on_until(1000.5)
    before = it.stop
    it.go_on_until(1001.0)

    assert (before, it.stop) == (None, "deadline\n")


def test_the_first_cause_stays(tmp_path: Path) -> None:
    it = run(tmp_path, deadline=1001.0, idle_limit=300.0)
    (tmp_path / "stop").write_text("budget\n")

    it.go_on_until(2000.0)

    assert it.stop == "budget\n"
    assert it.lines("asking the agent to stop") == []


def test_an_idle_agents_deadline_changes_nothing_any_more(tmp_path: Path) -> None:
    it = run(tmp_path, deadline=1001.0, idle_limit=300.0)

    it.go_on_until(2000.0)

    assert it.stop == "idle\n"


def test_a_short_limit_is_looked_at_more_often(tmp_path: Path) -> None:
    it = run(tmp_path, idle_limit=10.0, stall_threshold=5.0)
    it.go_on_until(6.0)
    active = it.active

    it.go_on_until(12.0)

    assert (active, it.stop) == (False, "idle\n")


def test_one_line_a_minute_says_how_it_goes(tmp_path: Path) -> None:
    it = run(tmp_path)
    it.overseer.state.update(checkpoint="c0ffee", commits=3)
    it.go_on_until(100.0)
    it.prints()

    it.go_on_until(301.0)

    lines = it.lines("status")
    assert len(lines) == 5
    assert lines[-1]["last_activity"] == "transcript"
    assert lines[-1]["idle_seconds"] == 195
    assert (lines[-1]["checkpoint"], lines[-1]["commits"]) == ("c0ffee", 3)


def test_a_place_that_cannot_be_written_costs_no_more_than_the_sign(tmp_path: Path) -> None:
    it = run(tmp_path, deadline=60.0)
    it.overseer.active = tmp_path / "gone" / "active"

    it.go_on_until(100.0)

    assert it.stop == "deadline\n"
    assert it.lines("cannot show whether the agent is active")


def test_a_stop_request_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    it = run(tmp_path, deadline=60.0)
    it.overseer.control = tmp_path / "later"
    it.go_on_until(100.0)
    assert it.overseer.cause == ""
    (tmp_path / "later").mkdir()

    it.go_on_until(120.0)

    assert (tmp_path / "later" / "stop").read_text() == "deadline\n"
    assert it.overseer.cause == "deadline"


def test_the_deadline_does_not_wait_for_what_takes_long(tmp_path: Path) -> None:
    it = run(tmp_path)
    started = time.monotonic()
    it.overseer = attrs.evolve(it.overseer, monotonic=time.monotonic, deadline=started + 0.3)

    with it.overseer.meanwhile():
        while it.stop != "deadline\n":
            assert time.monotonic() < started + 10, "the stop request never came"
            time.sleep(0.01)


@pytest.mark.parametrize(
    ("limits", "interval"), [((900.0, 0.0), 15.0), ((900.0, 50.0), 10.0), ((1.0, 0.0), 0.5)]
)
def test_how_often_it_looks(tmp_path: Path, limits: tuple[float, float], interval: float) -> None:
    it = run(tmp_path, stall_threshold=limits[0], idle_limit=limits[1])

    assert it.overseer.interval == interval
