"""The Go module of the one binary: committed for the default Kubernetes, generated for others."""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hack.lab import locks
from hack.lab.errors import LabError
from hack.lab.go import Go
from hack.lab.versions import DEFAULT_KUBERNETES, KubernetesVersion

COMMITTED = Path(__file__).parent / "gomodule"
GENERATION_SECONDS = 600
FILES = ("main.go", "go.mod", "go.sum")
_STAGING = re.compile(r"^\s*(?:replace\s+)?(\S+) => \./staging/src/\S+$", re.MULTILINE)
_DIRECTIVE = re.compile(r"^(?:go|godebug) .+$", re.MULTILINE)


def staging_modules(go_mod: str) -> list[str]:
    """The modules that Kubernetes' own go.mod replaces by its staging folder, which only its repository has."""
    return _STAGING.findall(go_mod)


def generated_go_mod(kubernetes_go_mod: str, version: KubernetesVersion) -> str:
    """Our go.mod before `go mod tidy`: Kubernetes' language version, and the published staging modules."""
    lines = ["module gastown.example/lab", *_DIRECTIVE.findall(kubernetes_go_mod)]
    lines.append(f"require k8s.io/kubernetes {version.module}")
    lines += [
        f"replace {module} => {module} {version.staging}" for module in staging_modules(kubernetes_go_mod)
    ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ModuleSource:
    """Finds the module's folder for a version of Kubernetes."""

    cache: Path
    go: Go

    def folder(self, version: KubernetesVersion) -> Path:
        """A folder with main.go, go.mod and go.sum; raises LabError for a version that the proxy does not serve."""
        if str(version) == DEFAULT_KUBERNETES:
            return COMMITTED
        folder = self.cache / f"module-{version}"
        with locks.held(self.cache / f".module-{version}.lock", lambda: None, GENERATION_SECONDS):
            if not folder.exists():
                self._generate(version, folder)
        shutil.copy(COMMITTED / "main.go", folder)
        return folder

    def _generate(self, version: KubernetesVersion, folder: Path) -> None:
        """Make the folder; renamed into place when complete."""
        with tempfile.TemporaryDirectory(dir=self.cache) as directory:
            kubernetes_go_mod = self._download(version, Path(directory)).read_text()
            made = Path(directory) / "module"
            made.mkdir()
            (made / "go.mod").write_text(generated_go_mod(kubernetes_go_mod, version))
            shutil.copy(COMMITTED / "main.go", made)
            self.go.run(["mod", "tidy"], made)
            made.rename(folder)

    def _download(self, version: KubernetesVersion, folder: Path) -> Path:
        """Kubernetes' own go.mod, from the module cache."""
        try:
            self.go.run(["mod", "download", f"k8s.io/kubernetes@{version.module}"], folder)
        except LabError as error:
            raise LabError(
                f"Kubernetes {version} cannot be downloaded; not every release is served, try {DEFAULT_KUBERNETES}: {error}"
            ) from error
        modules = Path(self.go.run(["env", "GOMODCACHE"], folder).strip())
        return modules / "cache/download/k8s.io/kubernetes/@v" / f"{version.module}.mod"
