"""What people are shown when the polecat disappoints."""

from hack.demo_run.failure import CONTAINERS, explain
from hack.demo_run.kubectl import Kubectl
from tests.demo.conftest import Recording


def test_every_container_and_the_operator_are_heard(recording: Recording) -> None:
    recording.says("logs", '{"type": "result", "is_error": true, "result": "Overloaded"}', "bye\x1b[0m")
    lines = list(explain(Kubectl("work"), "toast"))
    titles = [line for line in lines if line.startswith("--- log of ")]
    assert [title.split(":")[0] for title in titles] == [
        *(f"--- log of {container}" for container in CONTAINERS),
        "--- log of the operator",
    ]
    assert lines.count("    failed: Overloaded") == len(titles)
    assert lines.count("    bye�[0m") == len(titles)


def test_what_cannot_be_asked_is_said_and_the_rest_still_told(recording: Recording) -> None:
    (recording.directory / "logs").unlink()
    lines = list(explain(Kubectl("work"), "toast"))
    assert sum("No such file" in line for line in lines) == len(CONTAINERS) + 1
