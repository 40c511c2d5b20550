"""What the lab reads from the kernel, and what it needs of the machine."""

from pathlib import Path

import pytest

from hack.lab import packages
from hack.lab.cgroups import Cgroup, parse_hierarchies
from hack.lab.components import Nodes
from hack.lab.errors import LabError
from hack.lab.layout import Layout
from hack.lab.leftovers import leftovers
from hack.lab.mounts import parse_mounts
from hack.lab.packages import Apt, Package
from hack.lab.progress import Progress
from hack.lab.resolver import name_servers

HYBRID = """\
24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 24 0:26 / /sys/fs/cgroup rw shared:5 - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/unified rw shared:6 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/pids rw shared:7 - cgroup cgroup rw,pids
"""
UNIFIED = "31 30 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("mountinfo", "hierarchies"),
    [
        (HYBRID, [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/pids")]),
        (UNIFIED, [Path("/sys/fs/cgroup")]),
        ("", []),
    ],
)
def test_hierarchies_of_both_versions_are_found(mountinfo: str, hierarchies: list[Path]) -> None:
    assert parse_hierarchies(mountinfo) == hierarchies


def test_mount_points_with_blanks_are_read() -> None:
    assert parse_mounts("40 24 0:30 / /a\\040b\\134c rw - tmpfs tmpfs rw\n") == [Path("/a b\\c")]


def test_a_new_cpuset_gets_what_its_parent_has(tmp_path: Path) -> None:
    cpuset = tmp_path / "lab"
    (cpuset / "components").mkdir(parents=True)
    for directory, cpus in ((tmp_path, "0-1\n"), (cpuset, "\n"), (cpuset / "components", "\n")):
        (directory / "cpuset.cpus").write_text(cpus)
        (directory / "cgroup.clone_children").write_text("0\n")
    Cgroup("lab", (tmp_path,)).create()
    assert (cpuset / "components/cpuset.cpus").read_text() == "0-1\n"


@pytest.mark.parametrize(
    ("resolv_conf", "addresses"),
    [
        (
            "search a b\nnameserver 192.0.2.53\nnameserver 2001:db8::53\noptions ndots:1\n",
            ["192.0.2.53"],
        ),
        ("nameserver 127.0.0.53\n# nameserver 192.0.2.1\n;nameserver 192.0.2.2\n", ["127.0.0.53"]),
        ("nameserver fe80::1%eth0\nnameserver\nnameserver nonsense\n", []),
        ("nameserver 10.250.0.1\nnameserver 10.244.0.1\nnameserver 10.0.0.10\n", []),
        ("", []),
    ],
)
def test_name_servers_that_the_clusters_dns_can_stand_in_for(resolv_conf: str, addresses: list[str]) -> None:
    assert name_servers(resolv_conf) == addresses


def test_what_never_was_has_no_leftovers(tmp_path: Path) -> None:
    layout = Layout("never", tmp_path / "run", tmp_path / "data")
    assert leftovers(layout, Cgroup(layout.cgroup, (tmp_path,))) == []


def test_directories_and_cgroups_that_are_left_are_named(tmp_path: Path) -> None:
    layout = Layout("left", tmp_path / "run", tmp_path / "data")
    layout.run.mkdir(parents=True)
    (tmp_path / "hierarchy" / layout.cgroup).mkdir(parents=True)
    assert leftovers(layout, Cgroup(layout.cgroup, (tmp_path / "hierarchy",))) == [
        f"cgroup {layout.cgroup}",
        f"directory {layout.run}",
    ]


def test_fake_nodes_need_no_container_runtime() -> None:
    names = {package.name for package in packages.needed(Nodes.KWOK)}
    assert "iproute2" in names
    assert "containerd" not in names


def test_without_apt_the_user_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="no apt-get: install imaginary"):
        Apt(Progress()).ensure((Package("imaginary", "no-such-program"),))


def test_only_our_own_service_policy_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "POLICY", policy)
    policy.write_text("#!/bin/sh\nexit 0\n")
    packages.remove_stale_policy()
    assert policy.exists()
    policy.write_text(packages._POLICY_TEXT)
    packages.remove_stale_policy()
    assert not policy.exists()
