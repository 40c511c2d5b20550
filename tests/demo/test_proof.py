"""The proof is read from the git server, over SSH."""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hack.demo_run.checkout import Checkout
from hack.demo_run.errors import DemoError, PolecatError
from hack.demo_run.report import Result, proven_commit
from hack.demo_run.servers import PROJECT, REPOSITORY, Servers, project_files, running
from hack.git_server import generate_key

Clone = Callable[[str], Checkout]
PARSER = "durations/parsing.py"
BRANCH = "polecat/toast"


@pytest.fixture
def repaired(servers: Servers) -> str:
    """Push a branch with the repair, and return its commit."""
    broken = servers.git.show(REPOSITORY, "main", PARSER)
    text = broken.replace("seconds = int(amount)", "seconds += int(amount)")
    assert text != broken
    servers.git.git(REPOSITORY, "update-ref", f"refs/heads/{BRANCH}", "refs/heads/main")
    return servers.git.commit(REPOSITORY, BRANCH, {PARSER: text})


def test_the_tests_fail_on_main_and_pass_on_the_repair(cloned: Clone, repaired: str) -> None:
    checkout = cloned("work")
    before = checkout.test()
    assert not before.passed
    assert "FAILED" in before.summary
    checkout.switch(BRANCH, repaired)
    assert checkout.git("rev-parse", "HEAD").strip() == repaired
    after = checkout.test()
    assert after.passed
    assert after.summary.endswith(", OK")


def test_tests_run_as_nobody(cloned: Clone, tmp_path: Path) -> None:
    checkout = cloned("work")
    secret = tmp_path / "secret"
    secret.write_text("s")
    secret.chmod(0o600)
    (checkout.directory / "test_escape.py").write_text(f"open({str(secret)!r})\n")
    assert not checkout.test().passed
    (checkout.directory / PARSER).write_text(
        (checkout.directory / PARSER).read_text().replace("seconds = int", "seconds += int")
    )
    assert not checkout.test().passed
    (checkout.directory / "test_escape.py").unlink()
    assert checkout.test().passed


def test_the_commit_is_proven_when_server_and_status_agree(cloned: Clone, repaired: str) -> None:
    status = {"phase": "Done", "branch": BRANCH, "headCommit": repaired}
    assert proven_commit(status, cloned("work")) == repaired


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"phase": "Stuck"}, "ended as Stuck, not as Done: AgentExitCode: it ended with 3"),
        ({"branch": "polecat/other"}, "no branch 'polecat/other'"),
        ({"branch": "toast"}, "no branch 'toast'"),
        ({"branch": ""}, "no branch ''"),
        ({"headCommit": "0" * 40}, "but the status says 0000000000"),
    ],
)
def test_nothing_less_is_a_proof(
    cloned: Clone, repaired: str, changes: dict[str, str], complaint: str
) -> None:
    ready = {"type": "Ready", "reason": "AgentExitCode", "message": "it ended with 3"}
    status = {"phase": "Done", "branch": BRANCH, "headCommit": repaired, "conditions": [ready], **changes}
    with pytest.raises(PolecatError, match=complaint):
        proven_commit(status, cloned("work"))


def test_a_wrong_key_and_an_unknown_host_are_refused(servers: Servers, tmp_path: Path) -> None:
    stranger = generate_key(tmp_path / "key").private
    with pytest.raises(DemoError, match="Permission denied"):
        Checkout.clone(tmp_path / "a", servers.url, stranger, servers.known_hosts)
    empty = tmp_path / "known_hosts"
    empty.touch()
    with pytest.raises(DemoError, match="Host key verification failed"):
        Checkout.clone(tmp_path / "b", servers.url, servers.key.private, empty)


def test_the_repository_holds_the_project_without_what_tools_leave(tmp_path: Path) -> None:
    for name in ("a.py", ".gitignore", "__pycache__/a.pyc", ".ruff_cache/x/y", "deep/.mypy_cache/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert set(project_files(tmp_path)) == {"a.py", ".gitignore"}
    assert PARSER in project_files(PROJECT)


def test_the_servers_leave_neither_file_nor_listener() -> None:
    if os.geteuid() != 0:
        pytest.skip("sshd needs root")
    with running("127.0.0.1", with_model=True) as servers:
        assert servers.model is not None
        addresses = [("127.0.0.1", urlsplit(url).port or 0) for url in (servers.url, servers.model.url)]
        for address in addresses:
            socket.create_connection(address, timeout=5).close()
    assert not servers.directory.exists()
    for address in addresses:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)


def test_the_last_line_has_exactly_the_promised_keys() -> None:
    line = Result("toast", "Done", BRANCH, "f" * 40, 1.5).as_json()
    assert line == (
        f'{{"polecat": "toast", "phase": "Done", "branch": "{BRANCH}", "commit": "{"f" * 40}", "seconds": 1.5}}'
    )
