"""One moment of a polecat, what is decided in it, and the polecat afterwards."""

from datetime import timedelta
from typing import Any

import attrs

from gastown_operator.api.common import Condition
from gastown_operator.api.conditions import get_condition
from gastown_operator.api.core import Pod
from gastown_operator.api.polecat import POLECAT, Polecat
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.polecat.admission import Verdict
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.plan import plan
from gastown_operator.runtime.plan import Plan
from tests.unit.controllers.objects import NOW, SETTINGS, rig


def observed(
    subject: Polecat, the_pod: Pod | None = None, the_rig: Rig | None = None, **changes: Any
) -> Observed:
    """One moment of `subject`."""
    seen = Observed(subject, the_rig or rig(), the_pod, (), None, Verdict())
    return attrs.evolve(seen, **changes)


def decide(moment: Observed, seconds: float = 0.0) -> Plan:
    """The plan, `seconds` after now."""
    return plan(moment, SETTINGS, NOW + timedelta(seconds=seconds))


def after(subject: Polecat, decided: Plan) -> Polecat:
    """The polecat once the plan's status is stored; as it was where there is none."""
    if decided.status is None:
        return subject
    body = {"metadata": {"name": "x", "namespace": "x", "uid": "x"}, "status": dict(decided.status)}
    return attrs.evolve(subject, status=POLECAT.project(body).status)


def ready(subject: Polecat) -> Condition:
    """Its Ready condition."""
    found = get_condition(subject.status.conditions, "Ready")
    assert found is not None
    return found
