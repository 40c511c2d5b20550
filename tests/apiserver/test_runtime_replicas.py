"""Two replicas of the operator while polecats keep coming: the leader is killed, stopped, or told to end.

The replicas have the same rights and different tokens, by which the API server's audit log tells them apart.
"""

import base64
import json
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from time import sleep
from uuid import uuid4

import pytest
from attrs import define, field

from gastown_operator.api.core import NAMESPACE, POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.polecat.reconciler import CONCURRENCY
from gastown_operator.runtime.lease import LEASE
from tests.apiserver.client import JSON, Client
from tests.support.audit import Write
from tests.support.cluster import Cluster
from tests.support.installation import NAMESPACE as SYSTEM
from tests.support.installation import install, operator_kubeconfig
from tests.support.lab import Lab
from tests.support.operator_process import OperatorProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

DURATION, RENEW_DEADLINE, RETRY_PERIOD = 9.0, 6.0, 0.5  # short, and long enough for a busy machine
STANDSTILL = 1.0
ARGUMENTS = (
    *("--workload-image", "workload:1"),
    "--leader-elect",
    *("--leader-election-lease-duration", str(DURATION)),
    *("--leader-election-renew-deadline", str(RENEW_DEADLINE)),
    *("--leader-election-retry-period", str(RETRY_PERIOD)),
)
LEASE_NAME = "gastown-operator"
WRITERS = 8
POLECATS = 200


@define
class Replica:
    """One operator with a token of its own, whose id is `credential`."""

    process: OperatorProcess
    credential: str

    @classmethod
    def at(cls, directory: Path) -> "Replica":
        directory.mkdir()
        kubeconfig = operator_kubeconfig(directory)
        token = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return cls(OperatorProcess(kubeconfig, directory / "operator.log", ARGUMENTS), claims["jti"])

    @property
    def leads(self) -> bool:
        """Whether it has become leader, at some time."""
        return "became leader" in self.process.log.read_text(errors="replace")


@define
class Slinger:
    """Creates polecats in one namespace, of so many rigs that none is ever full."""

    cluster: Cluster
    name: str
    slung: list[str] = field(factory=list)

    def prepare(self) -> None:
        """Make the rigs and their namespace."""
        self.cluster.create(NAMESPACE, {"metadata": {"name": self.name}})
        for rig in self._rigs:
            spec = {
                "gitURL": "ssh://git@git.example.invalid/project.git",
                "beadsPrefix": "gt",
                "workNamespace": self.name,
                "settings": {"maxPolecats": 100},
            }
            self.cluster.create(RIG, {"metadata": {"name": rig}, "spec": spec})

    def clean(self) -> None:
        """Remove them."""
        self.cluster.delete(NAMESPACE, "", self.name)
        for rig in self._rigs:
            self.cluster.delete(RIG, "", rig)

    @contextmanager
    def slinging(self, number: int) -> Iterator[None]:
        """Create so many more polecats meanwhile, faster than a leader can give them pods."""
        first = len(self.slung)
        self.slung += [f"p{each}" for each in range(first, first + number)]
        with ThreadPoolExecutor(WRITERS) as writers:
            futures = [writers.submit(self._sling, each) for each in range(first, first + number)]
            yield
        for future in futures:
            future.result()

    def until_pods(self, number: int) -> None:
        """Wait until so many polecats have pods."""
        eventually(lambda: len(self.pods()) >= number, f"{number} pods")

    def pods(self) -> list[JSON]:
        """Return the pods that there are."""
        return self.cluster.objects(POD, self.name)

    @property
    def _rigs(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(10)]

    def _sling(self, number: int) -> None:
        spec = {
            "rig": self._rigs[number % len(self._rigs)],
            "desiredState": "Working",
            "taskDescription": "Task",
            "agent": "custom",
            "agentConfig": {"command": ["true"]},
        }
        metadata = {"namespace": self.name, "name": f"p{number}"}
        self.cluster.create(POLECAT, {"metadata": metadata, "spec": spec})


@define
class Election:
    """What the audit log says about two replicas."""

    old: Replica
    new: Replica
    writes: list[Write]

    def leases(self, replica: Replica) -> list[datetime]:
        """Return when a replica wrote the Lease."""
        return [write.began for write in self._of(replica) if _is_lease(write) and write.status < 300]

    def work(self, replica: Replica) -> list[Write]:
        """Return everything else that a replica wrote, or tried to."""
        return [write for write in self._of(replica) if not _is_lease(write)]

    @property
    def late(self) -> list[Write]:
        """What the old leader sent after the time until which its last renewal let it: that is counted from before the call."""
        deadline = self.leases(self.old)[-1] + timedelta(seconds=RENEW_DEADLINE)
        return [write for write in self.work(self.old) if write.began > deadline]

    def _of(self, replica: Replica) -> list[Write]:
        return [write for write in self.writes if write.credential == replica.credential]


def _is_lease(write: Write) -> bool:
    return write.resource == LEASE.plural


@pytest.fixture(scope="module")
def installed(client: Client) -> Cluster:
    """A cluster with our CRDs and rights."""
    install()
    return Cluster(client)


@pytest.fixture
def cluster(installed: Cluster) -> Cluster:
    """The same, in which nobody leads."""
    installed.delete(LEASE, SYSTEM, LEASE_NAME)
    return installed


@pytest.fixture
def slinger(cluster: Cluster) -> Iterator[Slinger]:
    made = Slinger(cluster, f"replicas-{uuid4().hex[:6]}")
    made.prepare()
    yield made
    made.clean()


@pytest.fixture
def position(lab: Lab) -> int:
    """Where the audit log was before there were replicas."""
    return lab.audit.end()


@pytest.fixture
def replicas(cluster: Cluster, position: int, tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:  # noqa: ARG001 - installed first
    """The leader, and a standby that is ready."""
    leader, standby = Replica.at(tmp_path / "leader"), Replica.at(tmp_path / "standby")
    started = []
    try:
        for replica in (leader, standby):
            replica.process.start()
            started.append(replica.process)
            eventually(lambda: leader.leads, "the first one leads")
        assert not standby.leads
        yield leader, standby
    finally:
        for process in started:
            if process.runs:
                process.kill()


@pytest.mark.parametrize(
    "fault", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM], ids=lambda fault: fault.name
)
def test_a_standby_takes_over_and_no_two_leaders_writes_mix(
    replicas: tuple[Replica, Replica], slinger: Slinger, lab: Lab, position: int, fault: signal.Signals
) -> None:
    old, new = replicas
    with slinger.slinging(POLECATS):
        slinger.until_pods(POLECATS // 10)
        old.process.send(fault)  # in the middle of its work
    eventually(lambda: new.leads, "the standby leads")
    slinger.until_pods(POLECATS)
    if fault is signal.SIGSTOP:
        old.process.send(signal.SIGCONT)
    status = old.process.ended()
    with slinger.slinging(POLECATS // 10):
        pass
    assert status == {signal.SIGKILL: -signal.SIGKILL, signal.SIGSTOP: 1, signal.SIGTERM: 0}[fault]
    eventually(lambda: len(slinger.pods()) == len(slinger.slung), "every polecat has a pod")

    election = Election(old, new, list(lab.audit.since(position)))
    assert len(election.late) <= CONCURRENCY
    assert [write for write in election.late if write.status < 400] == []
    done_by_old = [write.began for write in election.work(old) if write.status < 300]
    done_by_new = [write.began for write in election.work(new) if write.status < 300]
    took_over = election.leases(new)[0]
    assert max(done_by_old) < took_over < min(done_by_new)
    if fault is signal.SIGTERM:
        assert (took_over - election.leases(old)[-1]).total_seconds() < DURATION / 2  # released, not expired
    else:
        assert took_over > election.leases(old)[-1] + timedelta(seconds=RENEW_DEADLINE)
    created = Counter(
        write.name
        for write in election.writes
        if write.what == "create pods" and write.namespace == slinger.name and write.status == 201
    )
    assert set(created.values()) == {1}
    owners = Counter(pod["metadata"]["ownerReferences"][0]["name"] for pod in slinger.pods())
    assert owners == Counter(slinger.slung)


def test_a_leader_that_stands_still_for_less_than_its_deadline_goes_on(
    replicas: tuple[Replica, Replica], slinger: Slinger
) -> None:
    leader, standby = replicas
    with slinger.slinging(POLECATS):
        slinger.until_pods(POLECATS // 10)
        leader.process.send(signal.SIGSTOP)
        sleep(STANDSTILL)  # the fault itself
        leader.process.send(signal.SIGCONT)
    slinger.until_pods(POLECATS)
    assert leader.process.stop() == 0
    eventually(lambda: standby.leads, "the standby leads", DURATION)
