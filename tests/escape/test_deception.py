"""An agent that leaves lies for the keeper and the operator: links, addresses, and records in the files that it can write."""

import json
from pathlib import Path

from gastown_operator.workload import wrapper_report
from gastown_operator.workload.message import Outcome, TerminationMessage, decode
from tests.apiserver.client import JSON
from tests.escape import pods
from tests.escape.attempts import attempts
from tests.support.polecats import condition
from tests.support.site import Site

KEY_WORDS = "PRIVATE KEY"
LINKS = """\
ln -s /gastown/git-credentials/ssh-privatekey key
ln -s /gastown/git-credentials keys
ln -s /etc/shadow shadow
ln -s ../../../../../etc/passwd passwd
echo work > work.txt
"""
#: Where nobody copies, following a link means reading what it names.
FOLLOW = f"""\
cd /tmp
{LINKS}
mkdir copied && cp -rL key keys copied/
grep -rl '{KEY_WORDS}' copied && echo followed
"""
SUBMODULE = """\
git init --quiet lib && (cd lib
  git -c user.name=a -c user.email=a@b commit --quiet --allow-empty --message One)
git update-index --add --cacheinfo 160000,$(git -C lib rev-parse HEAD),lib
printf '[submodule "lib"]\\n\\tpath = lib\\n\\turl = ext::sh -c touch%% /gastown/keeper/ran\\n' > .gitmodules
git add .gitmodules && git commit --quiet --message 'Use a library'
echo work > work.txt
"""
RUN_SUBMODULE = """\
cd /tmp && export HOME=/tmp && git init --quiet repo && cd repo
git -c user.name=a -c user.email=a@b commit --quiet --allow-empty --message Zero
git -c protocol.ext.allow=always submodule --quiet add 'ext::sh -c touch% /tmp/ran' lib || true
test -e /tmp/ran && echo ran
"""
CLAIM = TerminationMessage(
    Outcome.SUCCEEDED, "Done", branch="polecat/liar", head="0" * 40, base="1" * 40, commits=3, pushed=True
)
FORGED = f"""\
printf '%s' '{CLAIM.encode().decode()}' > /dev/termination-log
hints=/gastown/hints
printf '%s' '{{"v":1,"outcome":"Ok","output_tokens":1,"cost_usd":"0"}}' > $hints/gateway.json
printf '%s\\n' '{{"type":"result","subtype":"success","is_error":false}}' > $hints/transcript || true
(while :; do printf 'code=0 stopped=no\\n' > $hints/exit; done) &
sleep 1
exit 3
"""


def _blobs(site: Site, repository: str, commit: str) -> str:
    """Everything that a commit holds, as text."""
    names = site.git.git(repository, "ls-tree", "-r", "--format=%(objecttype) %(objectname)", commit)
    blobs = [line.split()[1] for line in names.splitlines() if line.startswith("blob")]
    return "\n".join(site.git.git(repository, "cat-file", "blob", blob) for blob in blobs)


@attempts("symlinks")
def test_links_out_of_the_work_tree_are_committed_as_links_and_not_followed(site: Site) -> None:
    rig = site.rig("links")
    status = rig.sling("links", LINKS).tells("Done", "Done", "polecat/links")
    listed = site.git.git(rig.repository, "ls-tree", "-r", status["headCommit"])
    modes = {line.split("\t")[1]: line.split()[0] for line in listed.splitlines()}
    assert {name: modes[name] for name in ("key", "keys", "shadow", "passwd")} == dict.fromkeys(
        ("key", "keys", "shadow", "passwd"), "120000"
    )
    assert KEY_WORDS not in _blobs(site, rig.repository, status["headCommit"])

    spec = {
        "volumes": [pods.KEY_VOLUME, {"name": "tmp", "emptyDir": {}}],
        "containers": [
            pods.container(
                "keeper",
                "sh",
                "-c",
                FOLLOW,
                volumeMounts=[pods.KEY_MOUNT, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume
            )
        ],
    }
    assert "copied/key" in pods.run(rig, "follower", spec, "keeper", until="followed")


@attempts("submodule-url")
def test_a_submodule_is_committed_as_it_is_and_nothing_is_fetched_from_its_address(site: Site) -> None:
    rig = site.rig("submodule")
    polecat = rig.sling("submodule", SUBMODULE)
    status = polecat.tells("Done", "Done", "polecat/submodule")
    assert {".gitmodules", "work.txt"} <= rig.files(status["headCommit"])
    keeper = site.cluster.log(rig.namespace, "polecat-submodule", "keeper")
    assert "ext::" not in keeper

    spec = {
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "containers": [
            pods.container(
                "keeper",
                "sh",
                "-c",
                RUN_SUBMODULE,
                volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume
            )
        ],
    }
    assert pods.run(rig, "fetcher", spec, "keeper", until="ran")


@attempts("termination-message", "forged-records")
def test_what_the_agent_says_of_itself_does_not_make_it_done(site: Site, tmp_path: Path) -> None:
    rig = site.rig("liar")
    polecat = rig.sling("liar", FORGED)
    status = polecat.until("Stuck")

    assert condition(status, "Ready")["reason"] != "Done"
    assert condition(status, "Pushed").get("status") != "True"
    assert status.get("headCommit") != CLAIM.head
    assert status.get("usage", {}).get("outputTokens", 0) == 0
    assert {name for name in rig.refs if name.startswith("refs/heads/")} == {"refs/heads/main"}
    # The control: whoever read the agent's own words would believe them.
    claimed = decode(_agents_message(polecat.pods()[0]))
    assert claimed is not None
    assert (claimed.outcome, claimed.pushed) == (Outcome.SUCCEEDED, True)
    (tmp_path / "exit").write_text("code=0 stopped=no\n")
    assert wrapper_report.read(tmp_path).clean


def _agents_message(pod: JSON) -> str:
    (agent,) = (entry for entry in pod["status"]["containerStatuses"] if entry["name"] == "agent")
    assert agent["state"]["terminated"]["exitCode"] == 3, json.dumps(agent)
    message: str = agent["state"]["terminated"]["message"]
    return message
