"""What a suite is: a tox environment, and the cluster that it runs in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Suite:
    """Tests that need the same surroundings.

    Attributes:
        name: also the name of the tox environment.
        about: one line for `--list`.
        nodes: kind of nodes of the cluster (`hack/cluster up --nodes`); empty where none is needed.
        images: images that are loaded into the cluster first.
    """

    name: str
    about: str
    nodes: str = ""
    images: Sequence[str] = ()

    @property
    def cluster(self) -> str:
        """Name of the cluster; its own, so that a cluster of yours is left alone."""
        return f"test-{self.nodes}" if self.nodes else ""


#: Cheapest first, so that a mistake is found soon.
SUITES: Final = (
    Suite("static", "formatting, lint, types, import contracts, drift of generated files"),
    Suite("unit", "pure code by tables and properties, git on real repositories, faults by scripted servers"),
    Suite("apiserver", "CRDs and runtime on a real kube-apiserver", nodes="none"),
    Suite("kwok", "200 polecats on fake nodes: time, writes per polecat, memory", nodes="kwok"),
    Suite(
        "node", "bad input, kills and races on a real kubelet", nodes="real", images=("operator", "workload")
    ),
    Suite(
        "escape",
        "hostile agents and Polecats try to get out, with and without our protection",
        nodes="real",
        images=("operator", "workload"),
    ),
    Suite(
        "outcomes",
        "every agent to every end, as docs/outcomes.md says: the real programs, scripted models",
        nodes="real",
        images=("operator", "workload", "agent"),
    ),
    Suite(
        "demo", "hack/demo, with the real Claude Code", nodes="real", images=("operator", "workload", "agent")
    ),
)
