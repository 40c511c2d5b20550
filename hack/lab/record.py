"""What a cluster was made as: written before anything is started, so that whatever ends the script leaves a trace."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.lab.components import Nodes, Programs


@dataclass(frozen=True)
class Spec:
    """What the user asked for."""

    nodes: Nodes
    kubernetes: str
    policies: bool = True

    def __str__(self) -> str:
        policies = "" if self.policies else " --no-network-policies"
        return f"--nodes {self.nodes} --kubernetes {self.kubernetes}{policies}"


@dataclass(frozen=True)
class Record:
    """One cluster's state file. It is `prepared` once network, keys and configuration are complete."""

    spec: Spec
    boot: str
    programs: Programs
    prepared: bool = False

    def save(self, path: Path) -> None:
        """Write it atomically."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self), indent=1, default=str))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Record | None":
        """The record at this path; None where there is none that can be read."""
        try:
            value = json.loads(path.read_text())
            return cls(
                spec=Spec(
                    Nodes(value["spec"]["nodes"]),
                    value["spec"]["kubernetes"],
                    value["spec"].get("policies", True),
                ),
                boot=value["boot"],
                programs={name: Path(file) for name, file in value["programs"].items()},
                prepared=value["prepared"],
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
