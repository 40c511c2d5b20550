"""What is built, from what, and under which key it is kept."""

from dataclasses import replace
from pathlib import Path

import pytest

from hack.lab import go, gomodule
from hack.lab.build import Recipe
from hack.lab.errors import LabError
from hack.lab.toolbox import kubernetes_recipe
from hack.lab.versions import DEFAULT_KUBERNETES, KubernetesVersion

KUBERNETES_GO_MOD = """\
module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require (
	k8s.io/api v0.0.0
	k8s.io/klog/v2 v2.130.1
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/kubectl => ./staging/src/k8s.io/kubectl
	example.org/fork => example.org/other v1.0.0
)
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    for name in ("main.go", "go.mod"):
        (tmp_path / name).write_text(f"// {name}\n")
    return Recipe("program", ("-ldflags=-s", "."), tmp_path, ("main.go", "go.mod"))


def test_the_same_sources_have_the_same_key_wherever_they_are(
    recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in recipe.files:
        (elsewhere / name).write_text(f"// {name}\n")
    assert recipe.key("go1.26.8") == replace(recipe, folder=elsewhere).key("go1.26.8")


def test_whatever_goes_into_the_program_changes_its_key(recipe: Recipe) -> None:
    keys = {
        recipe.key("go1.26.8"),
        recipe.key("go1.27.0"),
        replace(recipe, name="other").key("go1.26.8"),
        replace(recipe, arguments=("-ldflags=-w", ".")).key("go1.26.8"),
        replace(recipe, files=("go.mod", "main.go")).key("go1.26.8"),
        replace(recipe, folder=None, files=()).key("go1.26.8"),
    }
    assert recipe.folder
    (recipe.folder / "main.go").write_text("// changed\n")
    keys.add(recipe.key("go1.26.8"))
    assert len(keys) == 7


def test_text_that_moves_between_two_files_changes_the_key(recipe: Recipe) -> None:
    assert recipe.folder
    before = recipe.key("go1.26.8")
    (recipe.folder / "main.go").write_text("// main.go\n// go.mod\n")
    (recipe.folder / "go.mod").write_text("")
    assert recipe.key("go1.26.8") != before


def test_the_binary_is_told_its_version() -> None:
    flags = kubernetes_recipe(gomodule.COMMITTED, KubernetesVersion(1, 36, 2)).arguments[0]
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.2" in flags
    assert "-X k8s.io/component-base/version.gitMinor=36" in flags


def test_builds_ignore_the_flags_and_targets_of_the_user_and_keep_the_proxy() -> None:
    environment = {
        "GOFLAGS": "-mod=vendor",
        "GOOS": "plan9",
        "GOBIN": "/x",
        "GOPROXY": "https://p",
        "PATH": "/bin",
    }
    assert go.build_environment(environment) == {
        "GOPROXY": "https://p",
        "PATH": "/bin",
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
    }


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8", (1, 26)),
        ("1.26.0", (1, 26)),
        ("go version go1.9.1 linux/amd64", (1, 9)),
        ("devel", None),
        ("", None),
    ],
)
def test_versions_of_go(text: str, version: tuple[int, int] | None) -> None:
    assert go.parse_version(text) == version


def test_a_generated_module_replaces_exactly_what_only_the_repository_has() -> None:
    assert gomodule.generated_go_mod(KUBERNETES_GO_MOD, KubernetesVersion(1, 37, 2)).splitlines() == [
        "module gastown.example/lab",
        "go 1.26.0",
        "godebug default=go1.26",
        "require k8s.io/kubernetes v1.37.2",
        "replace k8s.io/api => k8s.io/api v0.37.2",
        "replace k8s.io/kubectl => k8s.io/kubectl v0.37.2",
    ]


def test_the_committed_module_is_the_one_of_the_default_version() -> None:
    version = KubernetesVersion.parse(DEFAULT_KUBERNETES)
    text = (gomodule.COMMITTED / "go.mod").read_text()
    assert f"k8s.io/kubernetes {version.module}" in text
    assert f"k8s.io/api => k8s.io/api {version.staging}" in text


@pytest.mark.parametrize(("text", "version"), [("1.36.2", (1, 36, 2)), ("v1.37.0", (1, 37, 0))])
def test_kubernetes_versions(text: str, version: tuple[int, int, int]) -> None:
    assert KubernetesVersion.parse(text) == KubernetesVersion(*version)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1.36", "all three numbers"),
        ("latest", "all three"),
        ("1.36.2-rc.1", "all three"),
        ("1.20.0", "not supported"),
        ("2.0.0", "not supported"),
    ],
)
def test_versions_that_the_lab_cannot_build_are_refused(text: str, said: str) -> None:
    with pytest.raises(LabError, match=said):
        KubernetesVersion.parse(text)
