"""Waits until the operator's Deployment is available, or says why it will not be: `python3 hack/rollout.py --help`.

Standard library and kubectl only, as for `hack/render.py`. `kubectl rollout status` waits for its whole time for a pod that cannot
start, and then says nothing of it.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

NAMESPACE, NAME = "gastown-system", "gastown-operator"
REVISION = "deployment.kubernetes.io/revision"
PULL = "give an image that the nodes can pull (IMG=…), or load it into them"
LOG = f"see kubectl -n {NAMESPACE} logs POD --previous"
# What does not change by waiting: the kubelet's reasons, and what to do.
HINTS = {
    **dict.fromkeys(("ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"), PULL),
    "CreateContainerConfigError": f"see kubectl -n {NAMESPACE} describe pod POD",
    "CreateContainerError": f"see kubectl -n {NAMESPACE} describe pod POD",
    "RunContainerError": f"see kubectl -n {NAMESPACE} describe pod POD",
    "CrashLoopBackOff": LOG,
}
DESCRIBE = f"see kubectl -n {NAMESPACE} describe pods"
PAUSE = 1.0

Objects = Sequence[Mapping[str, Any]]


class CannotStartError(Exception):
    """The deployment will not become available as it is; the message says why, and what to do."""


def available(deployment: Mapping[str, Any]) -> bool:
    """Whether all replicas are of the present revision and available, as `kubectl rollout status` asks."""
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return _seen(deployment) and counts == [wanted] * len(counts)


def check(deployment: Mapping[str, Any], replica_sets: Objects, pods: Objects) -> None:
    """Raise CannotStartError for a pod of the present revision that waiting does not help."""
    for pod in present(deployment, replica_sets, pods):
        name = pod["metadata"]["name"]
        for container, reason, message in _waiting(pod):
            if reason in HINTS:
                said = f"{reason}: {message}" if message else reason
                hint = HINTS[reason].replace("POD", name)
                raise CannotStartError(f'container "{container}" of pod {name} cannot start: {said}; {hint}')


def present(deployment: Mapping[str, Any], replica_sets: Objects, pods: Objects) -> Objects:
    """The pods of the deployment's present revision; none as long as the controller has not seen it."""
    if not _seen(deployment):
        return []
    revision = deployment["metadata"].get("annotations", {}).get(REVISION)
    uids = {
        each["metadata"]["uid"]
        for each in replica_sets
        if each["metadata"].get("annotations", {}).get(REVISION) == revision
        and _owners(each) == [deployment["metadata"]["uid"]]
    }
    return [pod for pod in pods if uids & set(_owners(pod))]


def last_words(deployment: Mapping[str, Any], pods: Objects, events: Objects) -> str:
    """What is known of pods that are not made, or not ready: how they wait, and the newest warning about each."""
    parts = [each["message"] for each in _conditions(deployment) if _holds(each, "ReplicaFailure")]
    for pod in pods:
        if any(_holds(each, "Ready") for each in _conditions(pod)):
            continue
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        waiting = [reason for _, reason, _ in _waiting(pod)]
        warnings = [
            event["message"]
            for event in events
            if event["involvedObject"].get("uid") == uid and event["type"] == "Warning"
        ]
        parts.append(
            ": ".join([f"pod {name}", *(waiting or [pod["status"].get("phase", "")]), *warnings[-1:]])
        )
    return "; ".join([*parts, DESCRIBE])


def _seen(deployment: Mapping[str, Any]) -> bool:
    observed = deployment.get("status", {}).get("observedGeneration", 0)
    return bool(observed >= deployment["metadata"]["generation"])


def _owners(each: Mapping[str, Any]) -> list[str]:
    return [owner["uid"] for owner in each["metadata"].get("ownerReferences", [])]


def _conditions(of: Mapping[str, Any]) -> Objects:
    found: Objects = of.get("status", {}).get("conditions", [])
    return found


def _holds(condition: Mapping[str, Any], kind: str) -> bool:
    return bool(condition["type"] == kind and condition["status"] == "True")


def _waiting(pod: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Container, reason and message."""
    for status in pod["status"].get("containerStatuses", []):
        waiting = status.get("state", {}).get("waiting")
        if waiting:
            yield status["name"], waiting.get("reason", ""), waiting.get("message", "")


def _get(kubectl: Sequence[str], *words: str) -> Any:
    command = [*kubectl, "--namespace", NAMESPACE, "get", *words, "--output", "json"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if ran.returncode:
        raise CannotStartError(f"`{shlex.join(command)}` ended with {ran.returncode}")
    return json.loads(ran.stdout)


def wait(kubectl: Sequence[str], seconds: float) -> None:
    """Return once the operator is available. Raises CannotStartError as soon as it is sure that it will not be, or at the end of the time."""
    end = time.monotonic() + seconds
    while True:
        deployment = _get(kubectl, "deployment", NAME)
        if available(deployment):
            return
        replica_sets, pods = (_get(kubectl, kind)["items"] for kind in ("replicasets", "pods"))
        check(deployment, replica_sets, pods)
        if time.monotonic() >= end:
            events = sorted(
                _get(kubectl, "events")["items"], key=lambda each: each["metadata"]["creationTimestamp"]
            )
            told = last_words(deployment, present(deployment, replica_sets, pods), events)
            raise CannotStartError(f"it is not available after {seconds:.0f} s: {told}")
        time.sleep(PAUSE)


def main() -> None:
    """Exit status 1 with the cause on standard error."""
    parser = argparse.ArgumentParser(description="Waits until the operator is available.")
    parser.add_argument("--kubectl", default="kubectl", help="command (default: kubectl)")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="default: 120")
    arguments = parser.parse_args()
    try:
        wait(shlex.split(arguments.kubectl), arguments.timeout)
    except CannotStartError as error:
        print(f"the operator does not start: {error}", file=sys.stderr)
        sys.exit(1)
    print("the operator is available")


if __name__ == "__main__":
    main()
