"""What people read while a polecat waits or cannot start: the object that it is about, and what to do next."""

import attrs
import pytest

from gastown_operator.api.core import Pod
from gastown_operator.controllers.polecat.admission import Verdict
from gastown_operator.controllers.polecat.line import Wait
from gastown_operator.controllers.polecat.observe import Observed
from gastown_operator.controllers.polecat.starting import CANNOT_START, cannot_start, wait
from gastown_operator.runtime.errors import ApiError, Forbidden, Invalid
from gastown_operator.runtime.execution import Refusal
from gastown_operator.runtime.plan import Create
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.moments import after, decide, observed, ready
from tests.unit.controllers.objects import WORKERS, pod, polecat, terminated, waiting, word


def unscheduled(reason: str) -> Pod:
    """A pod that has no node, for this reason of the scheduler's."""
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": "0/3 nodes"}
    return pod(owner=polecat(), phase="Pending", conditions=[condition])


def refused(error: ApiError) -> Observed:
    """A polecat whose pod the API server does not take."""
    moment = observed(polecat())
    (create,) = decide(moment).actions
    assert isinstance(create, Create)
    assert isinstance(error, Forbidden | Invalid)
    return attrs.evolve(moment, refusal=Refusal(create, error))


DESCRIBE = f"kubectl -n {WORKERS} describe pod polecat-toast"
WAITS: dict[str, tuple[Observed, str, tuple[str, ...]]] = {
    "a node": (
        observed(polecat(), unscheduled("Unschedulable")),
        "Unschedulable",
        ("0/3 nodes", "kubernetes.resources", DESCRIBE),
    ),
    "a gate": (observed(polecat(), unscheduled("SchedulingGated")), "SchedulingGated", ("Kueue", DESCRIBE)),
    "its containers": (
        observed(polecat(), pod(owner=polecat(), phase="Pending")),
        "PodStarting",
        ("polecat-toast", DESCRIBE),
    ),
    "a quota": (
        refused(Forbidden('pods "polecat-toast" is forbidden: exceeded quota: few', status=403)),
        "QuotaExceeded",
        ("exceeded quota: few", f"kubectl -n {WORKERS} describe resourcequota"),
    ),
    "a quota that nobody has added up yet, as in a namespace that is new": (
        refused(
            Forbidden(
                'pods "polecat-toast" is forbidden: status unknown for quota: few, resources: pods',
                status=403,
            )
        ),
        "QuotaExceeded",
        ("status unknown for quota: few", f"kubectl -n {WORKERS} describe resourcequota"),
    ),
    "a ServiceAccount, as in a namespace that is new": (
        refused(
            Forbidden(
                'pods "polecat-toast" is forbidden: error looking up service account '
                f'{WORKERS}/default: serviceaccount "default" not found',
                status=403,
            )
        ),
        "ServiceAccountMissing",
        ('"default" not found', f"kubectl -n {WORKERS} get serviceaccounts"),
    ),
    "a limit": (
        refused(Invalid("maximum memory usage per Container is 100Mi", status=422)),
        "PodRefused",
        ("100Mi", "change the Polecat"),
    ),
    "its NetworkPolicy": (
        observed(polecat(), fenced=False),
        "NetworkPolicyPending",
        ('NetworkPolicy "gastown-project"', WORKERS, "kubectl describe rig project"),
    ),
    "a former pod": (
        observed(polecat(), name_taken_by=pod(owner=polecat(uid="former"))),
        "PodNameInUse",
        (DESCRIBE,),
    ),
    "an image": (
        observed(polecat(), pod(phase="Pending", agent=waiting("ImagePullBackOff", "no such image"))),
        "ImagePullBackOff",
        ('container "agent"', "no such image", "agentConfig.image", "imagePullSecrets", DESCRIBE),
    ),
}


@pytest.mark.parametrize("what", WAITS)
def test_one_that_waits_for(what: str) -> None:
    moment, reason, words = WAITS[what]

    said = ready(after(moment.polecat, decide(moment)))

    assert said.reason == reason
    assert [each for each in words if each not in said.message] == [], said.message


def test_a_wait_that_only_somebody_can_end_is_a_warning() -> None:
    blocked = decide(observed(polecat(), blocked="the git host is inside of the cluster; add it"))
    full = decide(observed(polecat(), verdict=Verdict(Wait.RIG_AT_CAPACITY, "no free slot")))

    assert [(note.type, note.reason) for note in blocked.events + full.events] == [
        ("Warning", "NetworkBlocked"),
        ("Normal", "RigAtCapacity"),
    ]


def test_one_that_is_stuck_says_how_to_try_again_in_a_line_to_paste() -> None:
    subject = polecat()
    message = word(Outcome.NO_CHANGES, commits=0, pushed=False)
    ended = pod(owner=subject, phase="Succeeded", keeper=terminated(message=message), agent=terminated())

    said = ready(after(subject, decide(observed(subject, ended))))

    assert f"kubectl -n {WORKERS} annotate polecat toast --overwrite gastown.io/retry=" in said.message


@pytest.mark.parametrize("reason", sorted(CANNOT_START))
def test_a_container_that_cannot_start_is_named_with_what_to_look_at(reason: str) -> None:
    found = cannot_start(pod(phase="Pending", agent=waiting(reason, "no such thing")))

    assert found is not None
    assert found.reason == reason
    assert found.message.startswith('container "agent" cannot start: no such thing; ')
    assert DESCRIBE in found.message


@pytest.mark.parametrize("reason", ["PodInitializing", "ContainerCreating", "ErrImagePull"])
def test_a_container_that_may_still_start_is_not_a_problem(reason: str) -> None:
    starting = pod(phase="Pending", agent=waiting(reason))

    assert cannot_start(starting) is None
    assert wait(starting).reason == "PodStarting"
