"""What the demo shows of a polecat, from what kubectl prints."""

from collections.abc import Callable, Iterator

import pytest

from hack.demo_run.errors import PolecatError
from hack.demo_run.kubectl import Kubectl
from hack.demo_run.streams import Streams
from hack.demo_run.watch import Watch
from tests.demo.conftest import Recording

HEADER = "NAME    RIG    PHASE   BEAD   POD   ACTIVE   AGE"
PODS = "NAME            READY   STATUS    RESTARTS   AGE"


@pytest.fixture
def told() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def watch(recording: Recording, told: list[tuple[str, str]]) -> Iterator[Watch]:
    assert recording.directory.exists()
    with Streams() as streams:
        yield Watch(Kubectl("work"), streams, "toast", lambda source, text: told.append((source, text)))


def said(told: list[tuple[str, str]], source: str) -> list[str]:
    return [text for teller, text in told if teller == source]


class EnoughError(Exception):
    """What a test waits for was told."""


def follow(watch: Watch, enough: Callable[[], bool]) -> None:
    """Watch until enough was told, however long the programs take to say it."""
    tell = watch.tell

    def told_and_counted(source: str, text: str) -> None:
        tell(source, text)
        if enough():
            raise EnoughError

    watch.tell = told_and_counted
    watch.begin()
    with pytest.raises(EnoughError):
        watch.until_end("uid", 30)


def test_a_row_is_shown_when_it_changes_but_not_when_it_only_ages(
    recording: Recording, watch: Watch, told: list[tuple[str, str]]
) -> None:
    rows = (
        HEADER,
        "toast   demo                                 0s",
        "toast   demo   Working   demo-1   polecat-toast   true     2s",
        "toast   demo   Working   demo-1   polecat-toast   true     3s",
        "toast   demo   Done      demo-1   polecat-toast   false    9s",
    )
    recording.says("polecats", *rows)
    watch.begin()
    assert watch.until_end("uid", 30) == "Done"
    assert said(told, "polecat") == [rows[0], rows[1], rows[2], rows[4]]


@pytest.mark.parametrize("phase", ["Done", "Stuck", "Terminated"])
def test_the_watch_ends_where_the_polecat_does(recording: Recording, watch: Watch, phase: str) -> None:
    recording.says("polecats", HEADER, f"toast   demo   {phase}   demo-1   polecat-toast   false    9s")
    watch.begin()
    assert watch.until_end("uid", 30) == phase


def test_the_agents_words_follow_once_it_runs(
    recording: Recording, watch: Watch, told: list[tuple[str, str]]
) -> None:
    recording.says("logs", '{"type": "assistant", "message": {"content": []}}', "hello")
    recording.says(
        "pods",
        PODS,
        "polecat-toast   0/2     Init:1/2   0          2s",
        "polecat-toast   2/2     Running    0          3s",
        "polecat-toast   1/2     Completed  0          4s",
    )
    follow(watch, lambda: "agent" in dict(told) and len(said(told, "pod")) == 4)
    assert said(told, "agent") == ["hello"]


def test_events_are_shown_with_single_spaces(
    recording: Recording, watch: Watch, told: list[tuple[str, str]]
) -> None:
    recording.says("events", "Done      the agent ended")
    follow(watch, lambda: "event" in dict(told))
    assert said(told, "event") == ["Done the agent ended"]


def test_a_polecat_that_comes_to_no_end_is_waited_for_so_long(watch: Watch) -> None:
    watch.begin()
    with pytest.raises(PolecatError, match="without a phase after 1 s"):
        watch.until_end("uid", 1)


def test_a_watch_that_breaks_off_is_an_error_with_its_last_words(recording: Recording, watch: Watch) -> None:
    recording.says("polecats", "Error from server: no")
    recording.ends("polecats")
    watch.begin()
    with pytest.raises(PolecatError, match="stopped watching the polecat"):
        watch.until_end("uid", 30)
