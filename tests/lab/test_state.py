"""The state file, the paths, the locks."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hack.lab import locks
from hack.lab.components import Nodes
from hack.lab.errors import LabError
from hack.lab.layout import Layout, checked_name
from hack.lab.record import Record, Spec

RECORD = Record(
    Spec(Nodes.KWOK, "1.36.2"), "boot", {"kubernetes": Path("/cache/kubernetes"), "kwok": Path("/cache/kwok")}
)


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, prepared=True)])
def test_a_record_is_read_as_it_was_written(record: Record, tmp_path: Path) -> None:
    record.save(tmp_path / "cluster.json")
    assert Record.load(tmp_path / "cluster.json") == record


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"spec": {"nodes": "many", "kubernetes": "1"}}']
)
def test_a_broken_record_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(content)
    assert Record.load(tmp_path / "cluster.json") is None


def test_a_missing_record_is_none(tmp_path: Path) -> None:
    assert Record.load(tmp_path / "cluster.json") is None


def test_the_spec_reads_as_the_options_that_make_it() -> None:
    assert str(RECORD.spec) == "--nodes kwok --kubernetes 1.36.2"


@pytest.mark.parametrize("name", ["gastown", "a", "a-1", "x" * 24])
def test_names_that_paths_and_cgroups_can_carry(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a/b", "..", "x" * 25, "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="no cluster name"):
        checked_name(name)


def test_two_clusters_share_no_path() -> None:
    one, other = Layout("one"), Layout("other")
    assert one.run != other.run
    assert one.data != other.data
    assert one.lock != other.lock
    assert one.cgroup != other.cgroup


def test_the_longest_name_leaves_room_for_unix_sockets() -> None:
    longest = Layout("x" * 24).containerd_state / "io.containerd.grpc.v1.cri/sandboxes/x"
    assert len(os.fsencode(longest)) < 107


class BusyError(Exception):
    """Raised in place of waiting."""


def test_a_lock_is_had_by_one_only_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "deep/lock"

    def wait() -> None:
        raise BusyError

    with locks.held(path, wait, 1), pytest.raises(BusyError), locks.held(path, wait, 1):
        pass
    with locks.held(path, wait, 1):
        pass


def test_a_lock_that_its_holder_removes_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.held(path, lambda: None, 1):
        path.unlink()
    with locks.held(path, lambda: None, 1) as descriptor:
        assert os.fstat(descriptor).st_ino == path.stat().st_ino


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    with (
        locks.held(tmp_path / "lock", lambda: None, 1),
        pytest.raises(LabError, match="another hack/cluster works"),
        locks.held(tmp_path / "lock", lambda: None, 0),
    ):
        pass
