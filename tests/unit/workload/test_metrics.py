"""The keeper's metrics: what they say, and that nobody who reads them is in the way."""

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gastown_operator.workload.journal import Journal
from gastown_operator.workload.metrics import Metrics
from gastown_operator.workload.metrics_server import serving
from tests.support.waiting import eventually
from tests.unit.workload.attempts import Attempts, RemoteRepository

#: Longer than a busy machine makes a client wait between its connection and its words.
DEADLINE = 2.0
Said = list[tuple[str, dict[str, Any]]]


def numbers(page: str) -> dict[str, float]:
    """Every sample, as a reader of the format understands it."""
    samples = (it for family in text_string_to_metric_families(page) for it in family.samples)
    return {"".join((it.name, *it.labels.values())): it.value for it in samples}


@pytest.fixture
def said() -> Said:
    return []


@pytest.fixture
def port(said: Said) -> Iterator[int]:
    """Where a page is served."""
    page = Metrics(made=1).page(1, 2.5)
    with serving(lambda: page, 0, noting(said), DEADLINE) as served:
        yield served


def noting(said: Said) -> Journal:
    """A journal that keeps what it is told."""

    def note(message: str, **fields: Any) -> None:
        said.append((message, fields))

    return note


def get(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    """What a client is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_checkpoints_are_counted_with_what_they_brought(
    attempts: Attempts, remote_repository: RemoteRepository
) -> None:
    attempt = attempts()
    attempt.clone()
    keeper = attempt.keeper()
    assert numbers(keeper.metrics())["gastown_keeper_checkpoints_totalmade"] == 0
    attempt.agent({"a.txt": "a\n" * 10})
    keeper._checkpoint()
    first = numbers(keeper.metrics())
    keeper._checkpoint()
    assert numbers(keeper.metrics())["gastown_keeper_checkpoints_totalmade"] == 1, "nothing was new"
    remote_repository.hook("update", "exit 1")
    attempt.agent({"b.txt": "b\n"})
    keeper._checkpoint()
    second = numbers(keeper.metrics())

    assert first["gastown_keeper_attempt"] == 1
    assert (
        first["gastown_keeper_checkpoints_totalmade"] == second["gastown_keeper_checkpoints_totalmade"] == 1
    )
    failed = "gastown_keeper_checkpoints_totalfailed"
    assert (first[failed], second[failed]) == (0, 1)
    assert 0 < first["gastown_keeper_checkpoint_bytes_total"] < 1000
    assert second["gastown_keeper_checkpoint_bytes_total"] == first["gastown_keeper_checkpoint_bytes_total"]
    assert first["gastown_keeper_checkpoint_seconds"] > 0


def test_how_long_the_agent_has_done_nothing_is_told_as_of_now(attempts: Attempts) -> None:
    attempt = attempts()
    attempt.clone()
    clock = [100.0]
    keeper = attempt.keeper(lambda: clock[0])
    clock[0] = 130.0

    assert numbers(keeper.metrics())["gastown_keeper_idle_seconds"] == 30


def test_the_page_is_served_and_nothing_else(port: int) -> None:
    status, page = get(port)
    assert (status, numbers(page)["gastown_keeper_idle_seconds"]) == (200, 2.5)
    assert get(port, "/")[0] == get(port, "/../etc/passwd")[0] == 404
    assert get(port, method="POST")[0] == 501


def test_who_sends_nothing_or_slowly_keeps_others_waiting_for_a_bounded_time(port: int) -> None:
    over = threading.Event()
    with (
        socket.create_connection(("127.0.0.1", port)) as silent,
        socket.create_connection(("127.0.0.1", port)) as slow,
    ):

        def drip() -> None:
            while not over.wait(DEADLINE / 10):
                try:
                    slow.send(b"G")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert get(port)[0] == 200
            assert silent.recv(1) == b"", "it was cut off"
        finally:
            over.set()
            thread.join()


def test_a_client_that_goes_away_is_no_event(port: int, said: Said) -> None:
    for text in (b"", b"GET /metrics HTTP/1.1\r\n", b"\0" * 70_000, b"GET /metrics HTTP/9\r\n\r\n"):
        # The server may have cut it off already.
        with socket.create_connection(("127.0.0.1", port)) as gone, suppress(ConnectionError):
            gone.sendall(text)
    assert get(port)[0] == 200
    assert said == []


def test_a_port_that_is_taken_costs_the_metrics_alone(port: int, said: Said) -> None:
    with serving(str, port, noting(said)) as served:
        assert served == 0
    ((what, fields),) = said
    assert what == "no metrics are served"
    assert "in use" in fields["cause"]


def test_a_signal_still_interrupts_what_the_keeper_waits_for() -> None:
    """The kernel may give a signal to any thread that does not block it."""
    program = """
import os, signal, threading, time
from gastown_operator.workload.metrics_server import serving
class Told(Exception): pass
def told(*_): raise Told
signal.signal(signal.SIGTERM, told)
with serving(str, 0, print):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.SIGTERM in signal.sigpending()
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        time.sleep(60)
    except Told:
        print("told")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "told\n"


def test_nothing_is_left_of_a_server_that_is_over() -> None:
    before = set(threading.enumerate())
    for _ in range(50):
        with serving(str, 0, noting([])):
            pass

    eventually(lambda: set(threading.enumerate()) <= before, "its threads have ended")
