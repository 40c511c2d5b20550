"""Housekeeping of a rig on a real API server, by the operator under its shipped rights; the test plays the kubelet of the Job's pod."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from attrs import define

from gastown_operator.api.batch import JOB
from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.runtime.objects import format_time
from gastown_operator.workload.housekeeping_report import HousekeepingReport
from gastown_operator.workload.message import Outcome
from tests.apiserver.client import JSON
from tests.support.audit import AuditLog, Write
from tests.support.cluster import Cluster, connect, environment
from tests.support.installation import install, operator_kubeconfig
from tests.support.operator_process import OperatorProcess
from tests.support.polecats import condition
from tests.support.site import agent
from tests.support.waiting import eventually

HOW = "hack/cluster exec --name apiserver -- .venv/bin/pytest tests/apiserver"
#: The shortest that there is, so that the first run comes soon; then a day, so that there is no second one.
SOON, LATER = "10s", "24h"
REPORT = HousekeepingReport(Outcome.SUCCEEDED, "Succeeded", "removed 3 refs", 3, 4)


@define
class Place:
    """A rig in a namespace of its own, and the operator that sees to it."""

    cluster: Cluster
    audit: AuditLog
    operator: OperatorProcess
    rig: str
    began: int

    def status(self) -> JSON:
        found = self.cluster.get(RIG, "", self.rig)
        assert found is not None
        status: JSON = found.get("status", {})
        return status

    def change_rig(self, spec: JSON) -> None:
        self.cluster.client.patch(RIG, {"metadata": {"name": self.rig}}, {"spec": spec}).object()

    def polecat(self, name: str) -> None:
        """Create a polecat, whose pod waits for a node that does not come."""
        spec = {
            "rig": self.rig,
            "desiredState": "Working",
            "taskDescription": "Do it.",
            **agent("true"),
        }
        self.cluster.create(POLECAT, {"metadata": {"namespace": self.rig, "name": name}, "spec": spec})
        eventually(lambda: self.cluster.get(POD, self.rig, f"polecat-{name}"), f"the pod of {name}")

    def job(self) -> JSON:
        """The rig's Job, once there is one."""
        return eventually(lambda: next(iter(self.jobs()), None), "a Job")

    def jobs(self) -> list[JSON]:
        return self.cluster.objects(JOB, self.rig)

    def pod_of_job(self) -> JSON:
        """The Job's pod, once Kubernetes has made it."""
        chosen = {"labelSelector": f"batch.kubernetes.io/job-name=gastown-housekeeping-{self.rig}"}
        return eventually(
            lambda: next(iter(self.cluster.objects(POD, self.rig, **chosen)), None), "the pod of the Job"
        )

    def end(self, pod: JSON, message: str) -> None:
        """Do what the kubelet does when the pod's program has ended well."""
        now = format_time(datetime.now(UTC))
        terminated = {"exitCode": 0, "message": message, "startedAt": now, "finishedAt": now}
        container = {"name": "housekeeping", "state": {"terminated": terminated}}
        shown = {"ready": False, "restartCount": 0, "image": "none", "imageID": "none"}
        status = {"phase": "Succeeded", "containerStatuses": [{**container, **shown}]}
        self.cluster.client.patch(POD, pod, {"status": status}, "status").object()

    def writes(self) -> list[Write]:
        """What the operator has written of the rig's Jobs, and of its housekeeping as a whole."""
        return [
            write
            for write in self.audit.since(self.began)
            if write.user_agent.startswith("gastown-operator")
            and write.resource == "jobs"
            and write.namespace == self.rig
        ]


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    directory = tmp_path_factory.mktemp("housekeeping")
    install()
    made = OperatorProcess(
        operator_kubeconfig(directory), directory / "operator.log", ["--workload-image", "none"]
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def place(operator: OperatorProcess) -> Iterator[Place]:
    audit = AuditLog(Path(environment("GASTOWN_LAB_AUDIT_LOG", HOW)))
    name = f"keep-{uuid4().hex[:6]}"
    with connect() as cluster:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.create(NAMESPACE, {"metadata": {"name": name, "labels": labels}})
        spec = {
            "gitURL": "ssh://git@git.example.invalid/a.git",
            "beadsPrefix": "gt",
            "workNamespace": name,
            "provision": {"witness": False, "refinery": False},
            "housekeeping": {"interval": SOON},
        }
        cluster.create(RIG, {"metadata": {"name": name}, "spec": spec})
        yield Place(cluster, audit, operator, name, audit.end())
        cluster.delete(RIG, "", name)
        cluster.delete(NAMESPACE, "", name)


def test_a_job_is_made_once_its_result_is_recorded_and_it_is_deleted_with_its_pod(place: Place) -> None:
    place.polecat("first")
    job, pod = place.job(), place.pod_of_job()
    assert job["metadata"]["ownerReferences"][0]["kind"] == "Rig"
    place.change_rig({"housekeeping": {"interval": LATER}})
    place.end(pod, REPORT.encode().decode())

    eventually(lambda: place.jobs() == [], "the Job is deleted")
    eventually(lambda: place.cluster.get(POD, place.rig, pod["metadata"]["name"]) is None, "and its pod")

    status = place.status()
    told = status["housekeeping"]
    assert (told["deletedRefs"], told["remainingRefs"], told["message"]) == (3, 4, "removed 3 refs")
    assert told["pendingSince"] == told["lastTime"]
    assert condition(status, "HousekeepingSucceeded")["status"] == "True"
    # Another polecat has the rig's own controller write the same status, and the housekeeping's look at it again.
    place.polecat("second")
    eventually(lambda: place.status()["polecatCount"] == 2, "the rig's controller has counted it")
    assert place.status()["housekeeping"] == told
    assert condition(place.status(), "HousekeepingSucceeded") == condition(status, "HousekeepingSucceeded")
    eventually(lambda: len(place.writes()) >= 2, "both writes in the audit log")
    assert [write.what for write in place.writes()] == ["create jobs", "delete jobs"]


def test_an_operator_that_is_killed_makes_no_second_job_and_records_what_the_first_says(
    place: Place,
) -> None:
    place.polecat("first")
    job, pod = place.job(), place.pod_of_job()
    place.operator.kill()
    place.end(pod, "no report")
    eventually(lambda: place.jobs()[0].get("status", {}).get("succeeded") == 1, "the Job is complete")
    place.change_rig({"housekeeping": {"interval": LATER}})
    assert [found["metadata"]["uid"] for found in place.jobs()] == [job["metadata"]["uid"]]

    place.operator.start()

    eventually(lambda: place.jobs() == [], "the Job is deleted")
    failed = condition(place.status(), "HousekeepingSucceeded")
    assert (failed["status"], failed["reason"]) == ("False", "NoResult")
    eventually(lambda: len(place.writes()) >= 2, "both writes in the audit log")
    assert [write.what for write in place.writes()] == ["create jobs", "delete jobs"]
