"""The verbs of `hack/cluster` for a cluster that is there already and is not ours."""

import argparse
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hack.lab.errors import LabError, last_line


@dataclass(frozen=True)
class ExistingCommands:
    """Each method is one verb and returns the exit status. Nothing here changes the cluster."""

    kubeconfig: Path
    kubectl: str

    @classmethod
    def of(cls, kubeconfig: str | Path | None) -> "ExistingCommands":
        """For the cluster of this kubeconfig; raises LabError where that or kubectl is missing."""
        if not kubeconfig:
            raise LabError(
                "--provider existing needs a kubeconfig: give --kubeconfig FILE or set GASTOWN_KUBECONFIG"
            )
        file = Path(kubeconfig).absolute()
        if not file.is_file():
            raise LabError(f"there is no kubeconfig {file}")
        kubectl = shutil.which("kubectl")
        if not kubectl:
            raise LabError("kubectl is not on PATH: an existing cluster is reached with it, install it")
        return cls(file, kubectl)

    def run(self, options: argparse.Namespace) -> int:
        """Run the verb that was given; raises LabError for what such a cluster cannot do."""
        match options.verb:
            case "up" | "status":
                print(f"existing cluster of {self.kubeconfig}: {self._version()}, ready")
            case "down":
                print("an existing cluster is not ours: nothing to do")
            case "kubeconfig":
                print(self.kubeconfig)
            case "exec":
                environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
                command = options.command
                os.execvpe(command[0], command, environment)  # noqa: S606 - the command takes our place
            case "load":
                raise LabError(
                    f"load {options.archive} with the tools of your cluster, such as `kind load image-archive`"
                )
            case _:
                raise LabError(f"an existing cluster's {options.verb} are with its own tools")
        return 0

    def _version(self) -> str:
        self._get("/readyz")
        return self._get("/version").partition('"gitVersion": "')[2].partition('"')[0]

    def _get(self, path: str) -> str:
        result = subprocess.run(
            [self.kubectl, f"--kubeconfig={self.kubeconfig}", "get", "--raw", path, "--request-timeout=10s"],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise LabError(f"the cluster of {self.kubeconfig} does not answer: {last_line(result.stderr)}")
        return result.stdout
