"""The cluster, spoken to with kubectl."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hack.demo_run.programs import output

Object = Mapping[str, Any]
FIELD_MANAGER = "hack-demo"


@dataclass(frozen=True)
class Kubectl:
    """kubectl in one namespace of the cluster that KUBECONFIG names; every method raises DemoError with what it said."""

    namespace: str

    def command(self, *arguments: str) -> list[str]:
        """Return the argument vector, for those who run it themselves."""
        return ["kubectl", f"--namespace={self.namespace}", *arguments]

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return its output."""
        return output(self.command(*arguments), stdin=stdin)

    def apply(self, *objects: Object) -> None:
        """Make the objects as given. They go through standard input, as some are secret."""
        self.run(
            *("apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}"),
            *("--filename=-",),
            stdin=_list(objects),
        )

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object."""
        found: dict[str, Any] = json.loads(self.run("get", kind, name, "--output=json"))
        return found

    def delete(self, *arguments: str) -> None:
        """Delete objects, named KIND/NAME, and return when they are gone; those that do not exist are gone already."""
        self.run("delete", "--ignore-not-found", "--wait", *arguments)

    def as_yaml(self, given: Object) -> str:
        """Return an object as people write it."""
        return self.run(
            "create", "--dry-run=client", "--output=yaml", "--filename=-", stdin=json.dumps(given)
        )


def _list(objects: tuple[Object, ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
