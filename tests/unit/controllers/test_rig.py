"""What is decided about a rig: its children, its counts, and whether polecats can work."""

from typing import Any

import attrs
import pytest

from gastown_operator.api.common import Condition, ConditionStatus
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.api.rig_status import RigPhase
from gastown_operator.controllers.rig.observe import Child, Observed
from gastown_operator.controllers.rig.plan import only_counts_differ, plan
from gastown_operator.runtime.plan import Create, Plan
from tests.unit.controllers.objects import NOW, WORKERS, namespace, rig

WITNESS = Child("project-witness", ())
REFINERY = Child("project-refinery", ())


def observed(subject: Rig | None = None, **changes: Any) -> Observed:
    """A rig whose children exist."""
    return attrs.evolve(Observed(subject or rig(), namespace(), 0, 0, WITNESS, REFINERY), **changes)


def after(subject: Rig, decided: Plan) -> Rig:
    """The rig once the plan's status is stored."""
    raw = {"metadata": {"name": "project", "uid": "u", "generation": 1, "resourceVersion": "2"}}
    stored = RIG.project({**raw, "status": dict(decided.status or {})})
    return attrs.evolve(stored, metadata=subject.metadata, spec=subject.spec)


def not_ready(reason: str) -> Child:
    """A child that says why it is not ready."""
    return Child("project-refinery", (Condition("Ready", ConditionStatus.FALSE, reason, "because", NOW),))


def test_a_new_rig_gets_its_witness_and_its_refinery_in_the_work_namespace() -> None:
    creates = plan(observed(witness=None, refinery=None), NOW).actions

    assert [(create.key.namespace, create.key.name) for create in creates if isinstance(create, Create)] == [
        (WORKERS, "project-witness"),
        (WORKERS, "project-refinery"),
    ]


def test_children_that_the_rig_does_not_want_are_not_made() -> None:
    subject = rig(provision={"witness": False, "refinery": False})

    assert plan(observed(subject, witness=None, refinery=None), NOW).actions == ()


def test_a_rig_whose_status_is_right_is_left_alone() -> None:
    subject = rig()
    told = after(subject, plan(observed(subject, polecats=3), NOW))

    assert (told.status.phase, told.status.polecat_count) == (RigPhase.READY, 3)
    assert plan(observed(told, polecats=3), NOW) == Plan()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"namespace": None}, "WorkNamespaceMissing"),
        ({"namespace": namespace(phase="Terminating")}, "WorkNamespaceTerminating"),
        ({"refinery": not_ready("TargetProtected")}, "RefineryNotReady"),
        ({"blocked": "spec.gitURL is 10.0.0.1; add it to spec.network.allow"}, "NetworkBlocked"),
        ({"rejected": ("workers/a",)}, "CredentialRejected"),
        ({"unsent": ("workers/a",)}, "CredentialMissing"),
    ],
)
def test_a_rig_that_cannot_work_is_degraded_with_the_reason_and_one_event(
    changes: dict[str, Any], reason: str
) -> None:
    subject = rig()
    decided = plan(observed(subject, **changes), NOW)

    told = after(subject, decided)
    assert (told.status.phase, told.status.conditions[0].reason) == (RigPhase.DEGRADED, reason)
    assert [(note.type, note.reason) for note in decided.events] == [("Warning", reason)]
    assert plan(observed(told, **changes), NOW).events == ()


def test_where_no_credential_was_sent_the_rig_names_the_field_to_set() -> None:
    (note,) = plan(observed(unsent=("workers/a",)), NOW).events

    assert "workers/a" in note.message
    assert "spec.providers[].secretRef" in note.message


def test_nothing_is_created_in_a_namespace_that_is_missing() -> None:
    assert plan(observed(namespace=None, witness=None, refinery=None), NOW).actions == ()


def test_a_refinery_without_a_test_command_does_not_count_against_the_rig() -> None:
    subject = rig()

    assert (
        after(subject, plan(observed(subject, refinery=not_ready("NoTestCommand")), NOW)).status.phase
        is RigPhase.READY
    )


@pytest.mark.parametrize("url", ["ext::sh -c id", "http://git.example.invalid/project.git"])
def test_a_rig_with_a_url_that_git_must_not_get_is_refused(url: str) -> None:
    subject = rig(gitURL=url)
    decided = plan(observed(subject, witness=None, refinery=None), NOW)

    assert after(subject, decided).status.conditions[0].reason == "InvalidGitRepository"
    assert decided.actions == ()


def test_only_changed_counts_may_wait() -> None:
    subject = rig()
    told = after(subject, plan(observed(subject, polecats=3), NOW))

    assert only_counts_differ(told, plan(observed(told, polecats=4), NOW))
    assert not only_counts_differ(told, plan(observed(told, namespace=None), NOW))
    assert not only_counts_differ(subject, plan(observed(subject), NOW))


def test_a_rig_that_works_where_the_operator_does_not_look_says_so_and_gets_no_children_there() -> None:
    decided = plan(observed(watched=False, witness=None, refinery=None), NOW)

    assert decided.actions == ()
    assert [event.reason for event in decided.events] == ["WorkNamespaceNotWatched"]
    assert "--namespaces" in decided.events[0].message
