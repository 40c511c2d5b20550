"""Every program that a cluster needs, built or found in the cache."""

from dataclasses import dataclass
from pathlib import Path

from hack.lab import gomodule
from hack.lab.build import Builder, Recipe
from hack.lab.components import Nodes, Programs
from hack.lab.go import Go, Toolchains
from hack.lab.progress import Progress
from hack.lab.versions import COREDNS, HELM, KWOK, KubernetesVersion

PAUSE = Path(__file__).parent / "pause"
STRIP = "-ldflags=-s -w"
# What `go.mod` of the committed module and the programs beside it ask for.
GO_NEEDED = (1, 26)


def kubernetes_recipe(folder: Path, version: KubernetesVersion) -> Recipe:
    """The one binary; it is told its version, which Kubernetes' own build would have done."""
    values = {
        "gitVersion": f"v{version}",
        "gitMajor": version.major,
        "gitMinor": version.minor,
        "gitTreeState": "clean",
        "gitCommit": "lab",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]
    flags = " ".join([STRIP, *settings])
    return Recipe(f"kubernetes-{version}", (flags, "."), folder, gomodule.FILES, "6 minutes on 2 cores")


PAUSE_RECIPE = Recipe("pause", (STRIP, "."), PAUSE, ("main.go", "go.mod"))
KWOK_RECIPE = Recipe(f"kwok-{KWOK}", (STRIP, f"sigs.k8s.io/kwok/cmd/kwok@{KWOK}"), duration="2 minutes")
COREDNS_RECIPE = Recipe(
    f"coredns-{COREDNS}", (STRIP, f"github.com/coredns/coredns@{COREDNS}"), duration="2 minutes"
)
HELM_RECIPE = Recipe(f"helm-{HELM}", (STRIP, f"helm.sh/helm/v3/cmd/helm@{HELM}"), duration="2 minutes")

_NODE_RECIPES: dict[Nodes, dict[str, Recipe]] = {
    Nodes.REAL: {"coredns": COREDNS_RECIPE, "pause": PAUSE_RECIPE},
    Nodes.KWOK: {"kwok": KWOK_RECIPE},
    Nodes.NONE: {},
}


@dataclass(frozen=True)
class Toolbox:
    """Builds what is missing."""

    cache: Path
    progress: Progress

    def programs(self, version: KubernetesVersion, nodes: Nodes, with_helm: bool) -> Programs:
        """The programs of a cluster with such nodes. Helm is built on request, and taken along where it is cached."""
        go = Toolchains(self.cache, self.progress).at_least(GO_NEEDED)
        builder = Builder(self.cache, go, self.progress)
        recipes = {"kubernetes": self._kubernetes(version, go), **_NODE_RECIPES[nodes]}
        if with_helm or builder.find(HELM_RECIPE).exists():
            recipes["helm"] = HELM_RECIPE
        return {name: builder.program(recipe) for name, recipe in recipes.items()}

    def _kubernetes(self, version: KubernetesVersion, go: Go) -> Recipe:
        folder = gomodule.ModuleSource(self.cache, go).folder(version)
        return kubernetes_recipe(folder, version)
