"""What a Polecat may ask of its pod and of its life, each once on a real node."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gastown_operator.api import labels
from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from tests.support import gates, volumes
from tests.support.cluster import kubectl
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import RigHandle, Site
from tests.support.waiting import eventually

#: Fails the first time that it works on the repository, and leaves work.
SECOND_TIME = """\
if [ -e tried.txt ]; then echo done > done.txt; exit; fi
touch tried.txt && git add tried.txt && git commit --quiet --message Tried
exit 1
"""
#: Works until it is stopped, but goes on from what it left.
PAUSED = """\
if [ -e left.txt ]; then cat left.txt; exit; fi
echo left > left.txt
echo ready
sleep 600
"""
CACHED = """\
echo preparing
[ ! -e "$GASTOWN_CACHE/seen" ] || echo "the cache is warm"
touch "$GASTOWN_CACHE/seen"
"""
QUEUE = "tested-queue"
SLOTS = {"settings": {"maxPolecats": 20}}


def _writes(name: str, text: str) -> str:
    return f"ls && echo {text} > {name}"


@pytest.fixture(scope="module")
def rigs(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RigHandle]]:
    """A rig with room, and those where something is in the way or at hand."""
    rigs = {name: site.rig(name, spec=SLOTS) for name in ("options", "limited", "quota")}
    cache = {"cache": {"claimName": "cache"}}
    rigs["cached"] = site.rig("cached", spec=cache)
    rigs["sandbox"] = site.rig(
        "sandbox", spec={"policy": {"allow": ["RuntimeClassName", "ServiceAccountName"]}}
    )
    directory = tmp_path_factory.mktemp("volumes")
    for name in ("options", "cached"):
        volumes.offer(rigs[name].name, directory / name)
    volumes.claim(rigs["cached"].namespace, "cache", rigs["cached"].name)
    limit = {"type": "Container", "max": {"memory": "100Mi"}}
    _create(rigs["limited"], "v1", "LimitRange", "small", {"limits": [limit]})
    _create(rigs["quota"], "v1", "ResourceQuota", "none", {"hard": {"pods": "0"}})
    computed = ("--for=jsonpath={.status.hard.pods}=0", "--timeout=60s", "resourcequota/none")
    kubectl("--namespace", rigs["quota"].namespace, "wait", *computed)
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "tested"},
        "handler": "runc",
    }
    kubectl("apply", "--filename=-", stdin=json.dumps(runtime))
    if gates.served():
        gates.close(QUEUE)
    yield rigs
    if gates.served():
        gates.remove(QUEUE)
    kubectl("delete", "runtimeclass", "tested")
    kubectl("delete", "--wait=false", "persistentvolume", rigs["options"].name, rigs["cached"].name)


def _create(rig: RigHandle, version: str, kind: str, name: str, spec: Mapping[str, Any]) -> None:
    metadata = {"namespace": rig.namespace, "name": name}
    body = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
    kubectl("apply", "--filename=-", stdin=json.dumps(body))


def _limits(rig: RigHandle) -> bool:
    """Whether pods of the rig's namespace are refused for their memory; admission learns of LimitRanges by a watch of its own."""
    container = {"name": "probe", "image": "probe", "resources": {"limits": {"memory": "4Gi"}}}
    probe = {
        "metadata": {"namespace": rig.namespace, "name": "probe"},
        "spec": {"containers": [container]},
    }
    return "maximum memory" in rig.site.cluster.client.create(POD, probe, dry_run=True).message


@pytest.fixture(scope="module")
def slung(rigs: dict[str, RigHandle]) -> dict[str, PolecatHandle]:
    """All polecats of this module at once; those with the longest way first."""
    options, limited, quota, cached, sandbox = (
        rigs[name] for name in ("options", "limited", "quota", "cached", "sandbox")
    )
    workspace = {"workspace": {"size": volumes.SIZE, "storageClassName": options.name}}
    nowhere = {"nodeSelector": {"example.invalid/gpu": "yes"}}
    sandboxed = {"runtimeClassName": "tested"}
    polecats = [
        options.sling("by-itself", SECOND_TIME, retry={"classes": ["AgentError"]}),
        options.sling("asked", SECOND_TIME),
        options.sling("paused", PAUSED),
        options.sling("first", _writes("first.txt", "first")),
        options.sling("second", _writes("second.txt", "second")),
        options.sling("rival", _writes("first.txt", "rival")),
        options.sling("both", _writes("both.txt", "both"), dependsOn=["first", "second"]),
        options.sling("torn", _writes("torn.txt", "torn"), dependsOn=["first", "rival"]),
        cached.sling("cold", "date > work.txt", setupCommand=CACHED),
        cached.sling("warm", "date > work.txt", setupCommand=CACHED, dependsOn=["cold"]),
        options.sling("unprepared", setupCommand="echo 'no compiler here' >&2; exit 3"),
        options.sling("volume", kubernetes=workspace),
        options.sling("nowhere", kubernetes=nowhere),
        options.sling("gated", kubernetes={"queueName": QUEUE}),
        options.sling("passing", ttlSecondsAfterFinished=1),
        options.sling("unsandboxed", kubernetes=sandboxed),
        sandbox.sling("sandboxed", kubernetes=sandboxed),
        sandbox.sling("anonymous", kubernetes={"serviceAccountName": "builder"}),
        limited.sling("limited"),
        quota.sling("quota"),
    ]
    return {polecat.name: polecat for polecat in polecats}


def test_a_full_quota_is_waited_for(rigs: dict[str, RigHandle], slung: dict[str, PolecatHandle]) -> None:
    polecat = slung["quota"]
    status = polecat.tells("Idle", "QuotaExceeded", "exceeded quota: none", "pods=1")
    assert condition(status, "Queued")["status"] == "True"
    _create(rigs["quota"], "v1", "ResourceQuota", "none", {"hard": {"pods": "5"}})


def test_a_pod_beyond_a_limit_range_is_refused_with_the_server_s_words(
    rigs: dict[str, RigHandle], slung: dict[str, PolecatHandle]
) -> None:
    polecat = slung["limited"]
    polecat.tells("Stuck", "PodRefused", "maximum memory usage per Container is 100Mi")
    kubectl("--namespace", rigs["limited"].namespace, "delete", "limitrange", "small")
    eventually(lambda: not _limits(rigs["limited"]), "the server has learnt that there is no limit any more")
    polecat.patch({"taskDescription": "Try again."})
    polecat.until("Done")


def test_a_service_account_that_is_not_there_is_waited_for(
    rigs: dict[str, RigHandle], slung: dict[str, PolecatHandle]
) -> None:
    polecat = slung["anonymous"]
    polecat.tells("Idle", "ServiceAccountMissing", '"builder" not found', "kubernetes.serviceAccountName")
    kubectl("--namespace", rigs["sandbox"].namespace, "create", "serviceaccount", "builder")
    polecat.until("Done")


def test_a_pod_that_no_node_can_take_is_a_wait(slung: dict[str, PolecatHandle]) -> None:
    polecat = slung["nowhere"]
    status = polecat.until("Idle", "Unschedulable")
    assert "node affinity/selector" in condition(status, "Ready")["message"]
    polecat.delete()
    polecat.until_gone(POLECAT, "nowhere")


def test_a_pod_carries_its_queue_and_waits_at_the_queue_s_gate(slung: dict[str, PolecatHandle]) -> None:
    polecat = slung["gated"]
    if gates.served():
        status = polecat.until("Idle", "SchedulingGated")
        assert "non-empty scheduling gates" in condition(status, "Ready")["message"]
        gates.admit(polecat.namespace, "polecat-gated")
    polecat.until("Done")
    (pod,) = polecat.pods()
    assert pod["metadata"]["labels"][gates.QUEUE_LABEL] == QUEUE


def test_a_runtime_class_needs_the_rig_s_word(slung: dict[str, PolecatHandle]) -> None:
    slung["unsandboxed"].tells("Stuck", "PolicyRefused", "RuntimeClassName", "spec.policy.allow")
    polecat = slung["sandboxed"]
    polecat.until("Done")
    (pod,) = polecat.pods()
    assert pod["spec"]["runtimeClassName"] == "tested"


def test_what_is_paused_goes_on_from_its_saved_work(site: Site, slung: dict[str, PolecatHandle]) -> None:
    polecat = slung["paused"]
    polecat.until_agent_says("ready")
    polecat.patch({"desiredState": "Idle"})
    polecat.until("Idle", "Idle")
    (told,) = polecat.until_event("Idle")
    assert "set it to Working to go on" in told["note"]
    polecat.patch({"desiredState": "Working"})
    status = polecat.until("Done")
    assert [attempt["class"] for attempt in status["attempts"]] == ["Infrastructure", "Succeeded"]
    assert site.cluster.log(polecat.namespace, status["podName"], "agent") == "left\n"


def test_dependencies_that_fit_together_are_the_base(
    rigs: dict[str, RigHandle], slung: dict[str, PolecatHandle]
) -> None:
    status = slung["both"].until("Done")
    files = rigs["options"].files(status["headCommit"])
    assert files == {"README.md", "first.txt", "second.txt", "both.txt"}
    assert status["startedAt"] >= max(slung[name].status["finishedAt"] for name in ("first", "second"))


def test_dependencies_that_conflict_are_named(slung: dict[str, PolecatHandle]) -> None:
    slung["torn"].tells("Stuck", "DependencyConflict", "polecat/first", "polecat/rival", "first.txt")


def test_setup_is_seen_and_finds_what_the_one_before_cached(
    site: Site, slung: dict[str, PolecatHandle]
) -> None:
    warm, cold = slung["warm"].until("Done"), slung["cold"].status
    said = [site.cluster.log(slung["warm"].namespace, it["podName"], "agent") for it in (cold, warm)]
    assert said == ["preparing\n", "preparing\nthe cache is warm\n"]


def test_setup_that_fails_keeps_the_agent_from_running(site: Site, slung: dict[str, PolecatHandle]) -> None:
    polecat = slung["unprepared"]
    status = polecat.tells("Stuck", "SetupFailed", "3")
    assert site.cluster.log(polecat.namespace, status["podName"], "agent") == "no compiler here\n"


def test_a_workspace_may_be_a_volume_of_a_storage_class(
    rigs: dict[str, RigHandle], slung: dict[str, PolecatHandle]
) -> None:
    slung["volume"].until("Done")
    bound = kubectl("get", "persistentvolume", rigs["options"].name, "--output=json")
    volume = json.loads(bound)["spec"]
    assert volume["claimRef"]["name"] == "polecat-volume-workspace"
    assert (Path(volume["hostPath"]["path"]) / "repo" / "work.txt").read_text() == "done\n"


def test_what_has_outlived_its_use_is_deleted(
    rigs: dict[str, RigHandle], slung: dict[str, PolecatHandle]
) -> None:
    polecat = slung["passing"]
    polecat.until_gone(POLECAT, "passing")
    polecat.until_gone(POD, "polecat-passing")
    assert "refs/heads/polecat/passing" in rigs["options"].refs


def test_the_annotation_asks_for_another_round(slung: dict[str, PolecatHandle]) -> None:
    polecat = slung["asked"]
    polecat.tells("Stuck", "AgentExitCode", labels.RETRY)
    kubectl("--namespace", polecat.namespace, "annotate", "polecat", "asked", f"{labels.RETRY}=1")
    status = polecat.until("Done")
    assert (status["round"], status["attempt"]) == (2, 2)


def test_a_class_that_shall_be_retried_is_retried(slung: dict[str, PolecatHandle]) -> None:
    status = slung["by-itself"].until("Done", seconds=120)
    assert [attempt["class"] for attempt in status["attempts"]] == ["AgentError", "Succeeded"]
    assert (status["round"], status["retries"]) == (2, 1)


def test_a_quota_that_has_room_again_is_noticed(slung: dict[str, PolecatHandle]) -> None:
    assert slung["quota"].until("Done")["attempt"] == 1
