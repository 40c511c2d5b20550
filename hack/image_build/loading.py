"""Images into a cluster, leaving out those that every node has."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hack.image_build.builder import DEVELOPMENT_TAG, BuiltImage
from hack.image_build.errors import BuildError
from hack.lab.progress import Progress


class Cluster:
    """A cluster of `hack/cluster`, known by its name."""

    def __init__(self, program: Path, name: str, progress: Progress) -> None:
        self._program = program
        self._name = name
        self._progress = progress

    def load(self, images: Sequence[BuiltImage]) -> None:
        """Load what a node lacks."""
        nodes = self._nodes()
        for image in images:
            if not is_everywhere(image, nodes):
                self._load(image)

    def _load(self, image: BuiltImage) -> None:
        self._progress.say(f"{image.target}: loading into the cluster {self._name}")
        command = [str(self._program), "load", str(image.archive), "--name", self._name]
        status = subprocess.run(command, check=False, stdout=sys.stderr).returncode
        if status != 0:
            raise BuildError(f"hack/cluster could not load {image.archive} (status {status})")

    def _nodes(self) -> list[dict[str, Any]]:
        command = [
            *(str(self._program), "exec", "--name", self._name, "--"),
            *("kubectl", "get", "nodes", "--output=json"),
        ]
        answer = subprocess.run(command, check=False, capture_output=True, text=True)
        if answer.returncode != 0:
            raise BuildError(f"the cluster {self._name} does not answer: {answer.stderr.strip()}")
        nodes: list[dict[str, Any]] = json.loads(answer.stdout)["items"]
        return nodes


def is_everywhere(image: BuiltImage, nodes: Sequence[dict[str, Any]]) -> bool:
    """Tell whether every one of `nodes` says that it has the image, and that the development tag means it too."""
    repository = image.image.rpartition(":")[0]
    wanted = {image.image, f"{repository}:{DEVELOPMENT_TAG}"}
    return bool(nodes) and all(
        any(wanted <= set(entry.get("names") or ()) for entry in node["status"].get("images") or ())
        for node in nodes
    )
