"""A remote with two commits, and attempts of one polecat on it."""

from pathlib import Path

import pytest

from tests.unit.workload.attempts import Attempts, RemoteRepository, git


@pytest.fixture
def remote_repository(tmp_path: Path) -> RemoteRepository:
    """A remote with two commits on main."""
    path = tmp_path / "remote.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
    remote = RemoteRepository(path)
    remote.commit("main", {"README.md": "hello\n"}, "first")
    remote.commit("main", {"src/app.py": "print('hi')\n", ".gitignore": "*.log\n"}, "second")
    return remote


@pytest.fixture
def attempts(remote_repository: RemoteRepository, tmp_path: Path) -> Attempts:
    """Attempts of the polecat `toast`."""
    return Attempts(remote_repository, tmp_path)
