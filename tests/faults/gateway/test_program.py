"""The program as the container runs it: its start, its signals, its last word."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define

from gastown_operator.gateway.__main__ import main
from gastown_operator.gateway.control import Paths
from gastown_operator.gateway.message import ModelOutcome, decode
from gastown_operator.gateway.settings import GatewaySettings

PROGRAM = """
import os, sys
from pathlib import Path
from gastown_operator.gateway.__main__ import main
from gastown_operator.gateway.control import Paths
folder = Path(sys.argv[1])
paths = Paths(folder, folder / "credentials", folder / "alive", folder / "termination-log")
sys.exit(main(os.environ, paths, (0, 0)))
"""


@define
class Running:
    process: "subprocess.Popen[str]"
    ports: tuple[int, int]


@contextmanager
def running(folder: Path, settings: GatewaySettings, **environment: str) -> Iterator[Running]:
    arguments = [sys.executable, "-c", PROGRAM, str(folder)]
    variables = {**os.environ, **settings.environment(), **environment}
    with subprocess.Popen(arguments, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = json.loads(process.stdout.readline())
            assert first["msg"] == "serving", first
            yield Running(process, tuple(first["ports"]))
        finally:
            process.kill()


SETTINGS = GatewaySettings("anthropic", "http://127.0.0.1:9", "llm", polecat="team/one")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_a_signal_and_leaves_its_record(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, SETTINGS) as program:
        with urllib.request.urlopen(f"http://127.0.0.1:{program.ports[1]}/healthz", timeout=30) as response:
            assert response.status == 200
        program.process.send_signal(number)
        asked = time.monotonic()
        assert program.process.wait(30) == 0
        assert time.monotonic() - asked < 5.0  # two seconds, and what a busy machine adds
    message = (tmp_path / "termination-log").read_text()
    assert decode(message) is not None
    assert message == (tmp_path / "gateway.json").read_text()


def test_it_ends_with_the_last_writer_of_the_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    settings = GatewaySettings("anthropic", "http://127.0.0.1:9", ended_by_pipe=True)
    with running(tmp_path, settings) as program:
        writer = os.open(tmp_path / "alive", os.O_WRONLY)
        os.write(writer, b"anything")
        assert program.process.poll() is None
        os.close(writer)
        assert program.process.wait(30) == 0


@pytest.mark.parametrize(
    ("settings", "environment", "said"),
    [
        (GatewaySettings("ollama"), {}, "needs the http(s) URL"),
        (GatewaySettings("anthropic", prices="{]"), {}, "prices are not JSON"),
        (GatewaySettings("anthropic", max_cost="much"), {}, "much"),
        (
            GatewaySettings("anthropic"),
            {"GASTOWN_CA_FILE": "/nowhere/ca.crt"},
            "GASTOWN_CA_FILE /nowhere/ca.crt",
        ),
        (GatewaySettings("anthropic", ended_by_pipe=True), {}, "alive"),
    ],
)
def test_what_it_cannot_start_with_is_its_last_word(
    tmp_path: Path, settings: GatewaySettings, environment: dict[str, str], said: str
) -> None:
    paths = Paths(tmp_path, tmp_path / "credentials", tmp_path / "alive", tmp_path / "termination-log")
    assert main({**settings.environment(), **environment}, paths, (0, 0)) == 1
    record = decode((tmp_path / "termination-log").read_text())
    assert record is not None
    assert (record.outcome, record.reason) == (ModelOutcome.CONFIG, "GatewayConfig")
    assert said in record.message
