"""What the cluster knows about a polecat that went wrong."""

from collections.abc import Iterator

from hack.demo_run.errors import DemoError
from hack.demo_run.kubectl import Kubectl
from hack.demo_run.steps import OPERATOR, OPERATOR_NAMESPACE
from hack.demo_run.transcript import told

TAIL = 20
CONTAINERS = ("clone", "keeper", "agent")
_CONDITIONS = 'jsonpath={range .status.conditions[*]}{.type}={.status} {.reason} {.message}{"\\n"}{end}'
_EVENTS = "custom-columns=REASON:.reason,MESSAGE:.message"


def explain(kubectl: Kubectl, polecat: str) -> Iterator[str]:
    """Yield the polecat's conditions, its pod's warnings and logs, and the operator's latest lines."""
    pod = f"polecat-{polecat}"
    yield from _section("conditions", kubectl, "get", "polecat", polecat, f"--output={_CONDITIONS}")
    yield from _section("pod", kubectl, "get", "pod", pod)
    warnings = f"--field-selector=involvedObject.name={pod},type!=Normal"
    yield from _section("warnings about the pod", kubectl, "get", "events", warnings, f"--output={_EVENTS}")
    for container in CONTAINERS:
        tail = (f"--container={container}", f"--tail={TAIL}")
        yield from _section(f"log of {container}", kubectl, "logs", pod, *tail)
    everybody = (OPERATOR, "--all-pods", f"--tail={TAIL}")  # one acts, one stands by
    yield from _section("log of the operator", Kubectl(OPERATOR_NAMESPACE), "logs", *everybody)


def _section(title: str, kubectl: Kubectl, *arguments: str) -> Iterator[str]:
    yield f"--- {title}: {' '.join(kubectl.command(*arguments[:3]))}"
    try:
        answer = kubectl.run(*arguments)
    except DemoError as error:
        answer = str(error)
    for line in answer.splitlines():
        yield from (f"    {text}" for text in told(line))
