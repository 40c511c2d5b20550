"""Hard work trees on a real node: what the agent made is on the remote or its loss is said, and nothing holds a pod up."""

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.support.cluster import kubectl
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import WORK, RigHandle, Site

COMMITS = 60
#: The server stands still in the midst of a whole history: one that ends quickly could end between two looks at how much it is.
STANDING = """\
#!/bin/sh
case " $* " in *" --shallow "*) exec "$@";; esac
"$@" | { head -c 2000000; exec sleep 300; }
"""
#: What a person would do first to find out how the code came to be as it is.
HISTORY = """\
set -eu
test "$(git rev-parse --is-shallow-repository)" = true
test "$(git log --format=%h | wc -l)" -eq 50
test "$(git log -p --format= | grep -c '^+')" -ge 50
git blame --porcelain grown.txt | grep -q '^author Town Crier'
git checkout --quiet HEAD~2
grep -q 'line 57' grown.txt && ! grep -q 'line 58' grown.txt
git checkout --quiet -
git revert --no-edit HEAD
! grep -q 'line 59' grown.txt
"""
#: Git makes a pack of what each of the two sends.
MIRRORED = (
    f"ls .git/objects/pack/*.pack | wc -l > packs.txt; test ! -e .git/objects/info/alternates && {WORK}"
)
TRAPS = f"""\
set -eu
{WORK}
mkfifo fifo .gitignore && ln -s /etc/passwd link
git init --quiet nested && rm nested/.git/HEAD && mkfifo nested/.git/HEAD && echo inner > nested/inner.txt
rm .git/index && mkfifo .git/index .git/objects/pack/pack-{"1" * 40}.idx
echo left > left.txt
"""
GONE = "echo left > left.txt && rm -rf .git && mkfifo .git"
REWRITTEN = f"""\
set -eu
export FILTER_BRANCH_SQUELCH_WARNING=1
{WORK}
git commit --quiet --amend --message 'Said better'
git filter-branch --msg-filter 'sed s/^/X-/' HEAD > /dev/null
git checkout --quiet --detach
echo left > left.txt
"""
KINDS = f"""\
set -eu
printf '[submodule "lib"]\\n\\tpath = lib\\n\\turl = https://git.invalid/lib\\n' > .gitmodules
git update-index --add --cacheinfo "160000,$(git rev-parse HEAD),lib"
git add .gitmodules
{WORK}
mkdir -p lib && echo changed > lib/lib.txt
git init --quiet nested && echo inner > nested/inner.txt
head -c 5000000 /dev/urandom > binary.dat && git hash-object --no-filters binary.dat > binary.id
echo '*.bin filter=lfs -text' > .gitattributes
printf large > large.bin
digest=$(sha256sum large.bin | cut -c 1-64)
store=.git/lfs/objects/$(echo $digest | cut -c 1-2)/$(echo $digest | cut -c 3-4)
mkdir -p $store && cp large.bin $store/$digest
"""
FULL = f"{WORK} && echo left > left.txt && head -c 64000000 /dev/urandom > large.bin"

EVICTED = f"{WORK} && head -c 64000000 /dev/urandom > large.bin; sleep 200"


@frozen
class Slung:
    """A polecat and the rig that it is on."""

    rig: RigHandle
    polecat: PolecatHandle

    @property
    def branch(self) -> str:
        """Where its work should be."""
        return f"refs/heads/polecat/{self.polecat.name}"

    def git(self, *arguments: str) -> str:
        """What git says on the server."""
        return self.rig.site.git.git(self.rig.repository, *arguments)


def _grow(rig: RigHandle) -> None:
    """Give the rig's repository a history of more than 1 MiB, above which these polecats' clones are shallow."""
    rig.site.git.install_hook(rig.repository, "pack-objects", STANDING)
    for number in range(COMMITS):
        lines = "".join(f"line {line}\n" for line in range(number + 1))
        noise = base64.b64encode(os.urandom(50_000))
        rig.site.git.commit(rig.repository, "main", {"grown.txt": lines, "noise.txt": noise})


def _claim(rig: RigHandle, directory: Path, **claim: str) -> None:
    """A volume that is a directory of the node, and a claim for it where a name is given; else its class is the rig's name."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "16Mi"},
        "hostPath": {"path": str(directory)},
        "storageClassName": rig.name,
    }
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": rig.name}, "spec": spec}
    objects = [volume]
    if claim:
        wanted = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": rig.name,
            "resources": {"requests": {"storage": "16Mi"}},
        }
        metadata = {"namespace": rig.namespace, **claim}
        objects.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": wanted}
        )
    for it in objects:
        kubectl("apply", "--filename=-", stdin=json.dumps(it))


@pytest.fixture(scope="module")
def small_volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory on which 16 MiB have room."""
    path = tmp_path_factory.mktemp("small")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=777", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mirrored(site: Site, directory: Path) -> RigHandle:
    """A rig with a volume that has all but the newest commit."""
    rig = site.rig("mirrored", spec={"mirror": {"claimName": "mirror"}})
    mirror = directory / "mirror.git"
    subprocess.run(
        ["git", "clone", "--quiet", "--mirror", site.git.repositories.path(rig.repository), mirror],
        check=True,
    )
    site.git.commit(rig.repository, "main", {"newer.txt": "newer\n"}, message="Newer")
    _claim(rig, mirror, name="mirror")
    return rig


@pytest.fixture(scope="module")
def slung(site: Site, small_volume: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Slung]:
    """All polecats of this module at once."""
    scripts = {"traps": TRAPS, "gone": GONE, "rewritten": REWRITTEN, "kinds": KINDS}
    rigs = {name: site.rig(name) for name in ("full", "evicted", *scripts, "history")}
    rigs["mirrored"] = _mirrored(site, tmp_path_factory.mktemp("mirror"))
    _grow(rigs["history"])
    _claim(rigs["full"], small_volume)
    small = {"workspace": {"storageClassName": rigs["full"].name, "size": "16Mi"}}
    limited = {"workspace": {"size": "16Mi"}}
    return {
        "evicted": Slung(rigs["evicted"], rigs["evicted"].sling("evicted", EVICTED, kubernetes=limited)),
        "full": Slung(rigs["full"], rigs["full"].sling("full", FULL, kubernetes=small)),
        "history": Slung(rigs["history"], rigs["history"].sling("history", HISTORY)),
        "mirrored": Slung(rigs["mirrored"], rigs["mirrored"].sling("mirrored", MIRRORED)),
        **{name: Slung(rigs[name], rigs[name].sling(name, script)) for name, script in scripts.items()},
    }


def test_an_agent_with_a_shallow_clone_sees_blames_goes_back_and_reverts(slung: dict[str, Slung]) -> None:
    status = slung["history"].polecat.tells("Done", "Done", "polecat/history")

    assert status["commits"] == 1
    assert int(slung["history"].git("rev-list", "--count", slung["history"].branch)) == COMMITS + 2
    subject, before = slung["history"].git("log", "--format=%s", "-2", slung["history"].branch).splitlines()
    assert subject == f'Revert "{before}"'


def test_what_a_mirror_has_comes_from_there(slung: dict[str, Slung]) -> None:
    slung["mirrored"].polecat.tells("Done", "Done", "polecat/mirrored")

    branch = slung["mirrored"].branch
    assert slung["mirrored"].rig.files(branch) == {"README.md", "newer.txt", "packs.txt", "work.txt"}
    assert slung["mirrored"].git("show", f"{branch}:packs.txt").strip() == "2"


def test_files_are_saved_from_among_traps(slung: dict[str, Slung]) -> None:
    slung["traps"].polecat.tells("Done", "Done", "could not be read")

    files = slung["traps"].rig.files(slung["traps"].branch)
    assert files == {"README.md", "left.txt", "link", "nested/inner.txt", "work.txt"}
    assert slung["traps"].git("show", f"{slung['traps'].branch}:link") == "/etc/passwd"


def test_files_are_saved_where_the_git_directory_is_gone(slung: dict[str, Slung]) -> None:
    slung["gone"].polecat.tells("Done", "Done", "could not be read", "without its own history")

    assert slung["gone"].rig.files(slung["gone"].branch) == {"README.md", "left.txt"}


def test_rewritten_history_on_a_detached_head_is_pushed(slung: dict[str, Slung]) -> None:
    slung["rewritten"].polecat.tells("Done", "Done", "polecat/rewritten")

    branch = slung["rewritten"].branch
    assert slung["rewritten"].git("log", "--format=%s", branch).splitlines()[1:] == [
        "X-Said better",
        "X-Begin",
    ]
    assert slung["rewritten"].rig.files(branch) == {"README.md", "left.txt", "work.txt"}


def test_what_a_branch_cannot_hold_is_beside_it_and_said(slung: dict[str, Slung]) -> None:
    polecat, branch = slung["kinds"].polecat, slung["kinds"].branch
    polecat.tells("Done", "Done", "1 objects of git-lfs", "the submodule 'lib'", polecat.ref("wip"))

    show = slung["kinds"].git
    assert show("rev-parse", f"{branch}:binary.dat") == show("show", f"{branch}:binary.id")
    assert show("show", f"{branch}:nested/inner.txt").strip() == "inner"
    assert show("show", f"{branch}:large.bin").startswith("version https://git-lfs.github.com/spec/v1")
    beside = show("log", "--no-walk", "--format=%s", f"{polecat.ref('wip')}^@").splitlines()
    assert {"Contents of git-lfs", "Files of the submodule 'lib'"} <= set(beside)


def test_a_full_volume_costs_the_agent_its_success_and_none_of_its_work(slung: dict[str, Slung]) -> None:
    polecat = slung["full"].polecat
    status = polecat.until("Stuck", "DiskFull")

    assert "no room is left in the workspace" in condition(status, "Ready")["message"]
    assert slung["full"].rig.files(slung["full"].branch) == {"README.md", "work.txt"}
    assert {"left.txt", "large.bin"} <= slung["full"].rig.files(polecat.ref("wip"))


def test_a_workspace_larger_than_its_limit_ends_the_pod_and_what_is_lost_is_said(
    slung: dict[str, Slung],
) -> None:
    polecat = slung["evicted"].polecat
    lost = "what it did since its last checkpoint is lost"
    polecat.tells("Stuck", "EphemeralStorageExceeded", 'exceeds the limit "16Mi"', lost, "workspace.size")
