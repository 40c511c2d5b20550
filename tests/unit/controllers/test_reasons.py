"""Every reason that a condition can have is explained where people look it up."""

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from gastown_operator.controllers.polecat.line import Wait
from gastown_operator.controllers.polecat.starting import CANNOT_START

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = ROOT / "docs/reference/reasons.md"
SOURCES: Final = (
    *(
        "controllers/polecat/*.py",
        "controllers/housekeeping/plan.py",
        "controllers/rig/plan.py",
        "controllers/credential/problem.py",
    ),
    *("agents/*.py", "api/validation.py", "gateway/*.py", "workload/*.py"),
)
#: What they say does not become the reason of a condition.
ELSEWHERE: Final = {"agents/result.py", "workload/__main__.py"}
#: Calls by the position of the reason among their arguments.
CALLS: Final = {
    "RefusedError": 0,
    "AgentConfigError": 0,
    "Problem": 0,
    "Obstacle": 0,
    "_refused": 1,
    "_branch": 1,
    "_stuck": 2,
    "end": 2,
    "_unheard": 1,
}
#: A reason stands right after a member of these; of how a model answered, only what is configured wrongly keeps its own.
BEFORE: Final = {"Outcome": "", "OutcomeClass": "", "RigPhase": "", "ModelOutcome": "CONFIG"}
#: Reasons that are Kubernetes' own or are put together from parts.
NOT_IN_SOURCE: Final = {
    *("Unschedulable", "SchedulingGated", "Evicted", "NodeLost", "Shutdown", "TerminationByKubelet"),
    *("EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager", "DeletionByPodGC"),
    *("SecretNotAllowed", "ConfigMapNotAllowed", "WitnessNotReady", "RefineryNotReady"),
    *("CredentialNameTaken", "PodDeleted", "PodInterrupted", "HousekeepingFailed"),
}


def texts(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """The strings that an expression can be, as far as they stand in the source."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body, constants)
        yield from texts(node.orelse, constants)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from texts(value, constants)


def before_a_reason(node: ast.expr) -> bool:
    """Whether it says how something ended, and the reason is next."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return False
    wanted = BEFORE.get(node.value.id)
    return wanted is not None and wanted in ("", node.attr)


def in_sequence(values: Sequence[ast.expr], constants: dict[str, str]) -> Iterator[str]:
    """The reasons among the elements of a tuple, or the arguments of a call."""
    for former, value in pairwise(values):
        if before_a_reason(former):
            yield from texts(value, constants)


def in_call(call: ast.Call, constants: dict[str, str]) -> Iterator[str]:
    """The reasons that a call is given."""
    for keyword in call.keywords:
        if keyword.arg == "reason":
            yield from texts(keyword.value, constants)
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    position = CALLS.get(name, len(call.args))
    if position < len(call.args):
        yield from texts(call.args[position], constants)
    yield from in_sequence(call.args, constants)


def reasons(source: str) -> set[str]:
    """What stands where a reason stands."""
    tree = ast.parse(source)
    constants = {
        node.target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found.update(in_call(node, constants))
        elif isinstance(node, ast.Tuple):
            found.update(in_sequence(node.elts, constants))
    return {reason for reason in found if re.fullmatch("[A-Z][A-Za-z]+", reason)}


def of_the_code() -> set[str]:
    """All reasons that the code can give."""
    package = ROOT / "gastown_operator"
    files = {path for pattern in SOURCES for path in package.glob(pattern)}
    files -= {package / name for name in ELSEWHERE}
    read = (reasons(path.read_text(encoding="utf-8")) for path in files)
    return set().union(*read, {wait.value for wait in Wait}, CANNOT_START, NOT_IN_SOURCE)


def of_the_page() -> set[str]:
    """The reasons in the first column of the page's tables."""
    rows = [
        line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    return set(re.findall("`([A-Za-z]+)`", " ".join(rows)))


def test_the_page_has_every_reason_and_no_other() -> None:
    code, page = of_the_code(), of_the_page()

    assert {"missing": code - page, "of nothing": page - code} == {"missing": set(), "of nothing": set()}


@pytest.mark.parametrize(
    "source",
    [
        'raise RefusedError("Odd", "because")',
        'State(phase=PHASE, reason="Odd", message="because")',
        '_WORD: Final = "Odd"\nConclusion(OutcomeClass.AGENT_ERROR, _WORD, "because")',
        'ENDS = {1: (Outcome.CONFIG_ERROR, "Odd")}',
        'set(reason="Odd" if pushed else other)',
    ],
)
def test_a_reason_is_found_wherever_one_stands(source: str) -> None:
    assert reasons(source) == {"Odd"}
