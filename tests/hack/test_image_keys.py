"""Image keys: an image is built again when, and only when, something that it contains has changed."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from hack.image_build.__main__ import as_table, parse, selected
from hack.image_build.builder import BuiltImage
from hack.image_build.loading import is_everywhere
from hack.image_build.targets import TARGETS, content_key

ROOT = Path(__file__).parents[2]
BASE = "localhost/base:1"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of everything that the images are built from."""
    for name in sorted({name for target in TARGETS for name in target.inputs}):
        source, copy = ROOT / name, tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, dirs_exist_ok=True)
        else:
            shutil.copy(source, copy)
    return tmp_path


def keys(tree: Path, base: str = BASE) -> dict[str, str]:
    return {target.name: content_key(target, tree, base) for target in TARGETS}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "images"),
    [
        ("Containerfile", {"operator", "workload", "agent"}),
        (".containerignore", {"operator", "workload", "agent"}),
        ("requirements/operator.txt", {"operator", "workload"}),
        ("hack/image_build/minimal_root.py", {"operator"}),
        ("hack/image_build/claude_code/package-lock.json", {"agent"}),
        ("hack/image_build/opencode/package-lock.json", {"agent"}),
        ("hack/image_build/aider.txt", {"agent"}),
        ("gastown_operator/__init__.py", {"operator", "workload"}),
        ("gastown_operator/runtime/new.py", {"operator"}),
        ("gastown_operator/workload/new.py", {"operator", "workload"}),
    ],
)
def test_a_changed_file_changes_the_images_that_contain_it(tree: Path, file: str, images: set[str]) -> None:
    before = keys(tree)
    with (tree / file).open("a") as content:
        content.write("\n")
    assert changed(before, keys(tree)) == images


def test_a_moved_or_executable_file_is_a_change(tree: Path) -> None:
    before = keys(tree)
    file = tree / "gastown_operator/__init__.py"
    file.chmod(file.stat().st_mode | 0o100)
    assert changed(before, keys(tree)) == {"operator", "workload"}
    file.chmod(file.stat().st_mode & ~0o111)
    assert keys(tree) == before
    file.rename(tree / "gastown_operator/workload/moved.py")
    file.touch()
    assert changed(before, keys(tree)) == {"operator", "workload"}


def test_byte_code_and_times_are_no_change(tree: Path) -> None:
    before = keys(tree)
    cache = tree / "gastown_operator/__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "x.cpython-311.pyc").write_bytes(b"x")
    (tree / "Containerfile").touch()
    assert keys(tree) == before


def test_another_base_changes_every_image(tree: Path) -> None:
    assert changed(keys(tree), keys(tree, "localhost/base:2")) == {"operator", "workload", "agent"}


def test_images_never_share_a_key(tree: Path) -> None:
    assert len(set(keys(tree).values())) == len(TARGETS)


def test_a_missing_input_is_named(tree: Path) -> None:
    (tree / "requirements/operator.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"requirements/operator\.txt"):
        keys(tree)


def test_everything_that_the_images_are_built_from_reaches_the_builder() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".containerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for target in TARGETS:
        for name in set(target.inputs) - {"Containerfile", ".containerignore"}:
            assert any(Path(name).is_relative_to(entry) for entry in allowed), name


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], ["operator", "workload", "agent"]),
        (["--no-agent"], ["operator", "workload"]),
        (["agent", "operator"], ["operator", "agent"]),
    ],
)
def test_images_are_chosen_on_the_command_line(arguments: list[str], names: list[str]) -> None:
    assert [target.name for target in selected(parse(arguments))] == names


def test_an_unknown_image_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["gateway"])
    assert "no such image: gateway (there are operator, workload, agent)" in capsys.readouterr().err


def test_the_table_shows_names_sizes_and_times() -> None:
    built = [
        BuiltImage(
            "operator", "localhost/gastown-operator:abc", Path("/x.tar"), 104_857_600, 4.2, cached=False
        )
    ]
    assert as_table(built).splitlines() == [
        "IMAGE                       TAG  SIZE    SECONDS  CACHED",
        "localhost/gastown-operator  abc  105 MB  4.2      no",
    ]


BUILT = BuiltImage("agent", "localhost/gastown-agent:abc", Path("/x.tar"), 1, 0.1, cached=True)


def node(*images: list[str]) -> dict[str, Any]:
    return {"status": {"images": [{"names": names} for names in images]}}


@pytest.mark.parametrize(
    ("nodes", "there"),
    [
        ([], False),
        ([{"status": {}}], False),
        ([node(["localhost/gastown-agent:abc", "localhost/gastown-agent:dev"])], True),
        ([node(["localhost/gastown-agent:abc"], ["localhost/gastown-agent:dev"])], False),
        ([node(["localhost/gastown-agent:abc", "localhost/gastown-agent:dev"]), node()], False),
    ],
    ids=["no node", "nothing said", "there", "dev is another image", "one node lacks it"],
)
def test_an_image_is_loaded_unless_every_node_has_it_under_both_names(
    nodes: list[dict[str, Any]], there: bool
) -> None:
    assert is_everywhere(BUILT, nodes) is there
