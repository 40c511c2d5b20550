"""The command itself."""

import json
import os
import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "hack/demo"
TIMEOUT = 1200


def demo(*arguments: str, user: int | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [DEMO, *arguments], capture_output=True, text=True, check=False, timeout=TIMEOUT, user=user
    )


def test_help_says_what_will_happen() -> None:
    answer = demo("--help")
    assert answer.returncode == 0
    assert "--agent {claude-code,custom}" in answer.stdout


def test_an_unknown_agent_is_answered_with_the_known_ones() -> None:
    answer = demo("--agent", "intern")
    assert answer.returncode == 2
    assert "claude-code" in answer.stderr


def test_an_old_python_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setenv("PYTHON", str(python))
    answer = demo()
    assert answer.returncode == 2
    assert answer.stderr == "hack/demo: Python 3.9.2 is too old: set PYTHON to Python 3.11 or later\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up root")
def test_without_root_it_says_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON", "/usr/bin/python3")
    answer = demo(user=65534)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == (
        "hack/demo: needs root, for the cluster's namespaces and cgroups: run it with sudo\n"
    )


@pytest.mark.node
@pytest.mark.slow
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("agent", ["custom", "claude-code"])
def test_a_polecat_repairs_the_project(agent: str) -> None:
    """Twice on a cluster of its own, as the second run meets what the first one left."""
    first = demo("--agent", agent, "--name", "demo-test")
    second = demo("--agent", agent, "--name", "demo-test", "--down")
    for answer in (first, second):
        assert answer.returncode == 0, answer.stdout + answer.stderr
        result = json.loads(answer.stdout.splitlines()[-1])
        assert list(result) == ["polecat", "phase", "branch", "commit", "seconds"]
        assert result["phase"] == "Done"
    assert "hack/cluster down --name demo-test" in first.stdout
