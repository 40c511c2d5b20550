"""One cluster of the lab: bring it up, look at it, take it down."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hack.lab import locks, mounts, process
from hack.lab.api import Api, ApiError
from hack.lab.cgroups import Cgroup
from hack.lab.components import SERVERS, Catalog, Component, Programs
from hack.lab.errors import LabError, NotReadyError
from hack.lab.layout import Layout
from hack.lab.netns import NetworkNamespace
from hack.lab.pki import Pki
from hack.lab.prepare import Preparation, remove_strays
from hack.lab.progress import Progress
from hack.lab.record import Record, Spec
from hack.lab.supervisor import Supervisor
from hack.lab.workers import Workers

DISK_NEEDED = 1 << 30
LOCK_SECONDS = 300
RESTART_GRACE = 30
READY_SECONDS = 120


@dataclass(frozen=True)
class Cluster:
    """All operations are safe to repeat, and to run after any other one was killed anywhere."""

    layout: Layout
    progress: Progress
    cgroup: Cgroup
    netns: NetworkNamespace
    pki: Pki
    supervisor: Supervisor
    api: Api

    @classmethod
    def at(cls, layout: Layout, progress: Progress) -> "Cluster":
        """The cluster of this layout, whether it exists or not."""
        cgroup = Cgroup.on_this_machine(layout.cgroup)
        netns, pki = NetworkNamespace(layout.netns), Pki(layout.pki)
        return cls(layout, progress, cgroup, netns, pki, Supervisor(layout, cgroup, netns), Api(netns, pki))

    def record(self) -> Record | None:
        """The state file; None where nothing was ever begun."""
        return Record.load(self.layout.record)

    def is_ready(self, spec: Spec) -> bool:
        """Whether it runs as wanted already; raises LabError if it runs as something else."""
        record = self.record()
        if not record or not record.prepared or record.boot != process.boot_id():
            return False
        if record.spec != spec:
            raise LabError(
                f"cluster {self.layout.name} is up with {record.spec}, you asked for {spec}: "
                f"run `hack/cluster down --name {self.layout.name}` first, or choose another --name"
            )
        return not self.missing(record) and self.ready(record)

    def missing(self, record: Record) -> list[Component]:
        """The components that should run and do not."""
        return [
            component for component in self.components(record) if not self.supervisor.running(component.name)
        ]

    def components(self, record: Record) -> list[Component]:
        """What the cluster consists of."""
        return Catalog(self.layout, self.pki, record.programs).components(
            record.spec.nodes, policies=record.spec.policies
        )

    def ready(self, record: Record) -> bool:
        """Whether pods can be created: the apiserver, the default service account, and the nodes are ready."""
        try:
            return (
                self.api.ready()
                and self._has_default_account()
                and Workers(self.layout, self.api).ready(record.spec)
            )
        except ApiError:
            return False

    def nodes(self) -> dict[str, bool]:
        """Each node's name, and whether it is Ready; none where the apiserver does not answer."""
        try:
            return Workers(self.layout, self.api).nodes()
        except ApiError:
            return {}

    def up(self, spec: Spec, programs: Programs) -> None:
        """Start what is missing; what cannot be continued is taken down first."""
        with self._locked():
            record = self.record()
            if record and self.is_ready(spec):
                self._adopt(record, programs)
                return
            if (
                not record
                or not record.prepared
                or record.boot != process.boot_id()
                or not self.netns.exists()
            ):
                self._sweep()
                record = self._prepared(Record(spec, process.boot_id(), programs))
            else:
                record = self._repaired(record, programs)
            self.cgroup.create()
            self._start(record)

    def restart(self, record: Record, name: str, *, kill: bool) -> None:
        """End one component and start it again with its flags; raises LabError if the cluster has no such component."""
        components = self.components(record)
        component = next((each for each in components if each.name == name), None)
        if not component:
            known = ", ".join(each.name for each in components)
            raise LabError(f"cluster {self.layout.name} has no component {name!r}: choose one of {known}")
        with self._locked():
            self.supervisor.stop(component, grace=0 if kill else RESTART_GRACE)
            self.supervisor.start(component)
            self._wait("the cluster", lambda: self.ready(record), components)

    def down(self) -> None:
        """End it, and remove every trace. Does nothing where there is none."""
        if Path("/proc/self/ns/net").stat().st_ino == _inode(self.layout.netns):
            raise LabError(
                "this runs inside the cluster that it should take down: run it outside of `hack/cluster exec`"
            )
        with self._locked():
            self._sweep()
            self.layout.lock.unlink()

    def _repaired(self, record: Record, programs: Programs) -> Record:
        """Ready to start what is missing: with the programs of now, as the cache may have been emptied."""
        missing = ", ".join(component.name for component in self.missing(record))
        self.progress.say(
            f"repairing: {missing} had ended" if missing else "repairing: it runs, but is not ready"
        )
        return self._adopt(record, programs)

    def _adopt(self, record: Record, programs: Programs) -> Record:
        """Note the programs of now, and let `exec` find them."""
        record = replace(record, programs=programs)
        Preparation(self.layout, self.netns, self.pki).link_programs(record)
        record.save(self.layout.record)
        return record

    def _prepared(self, record: Record) -> Record:
        free = shutil.disk_usage(self.layout.data_root.parent).free
        if free < DISK_NEEDED:
            raise LabError(f"{self.layout.data_root} has less than 1 GiB free: make room first")
        self.progress.say("preparing network, keys and configuration")
        prepared = Preparation(self.layout, self.netns, self.pki).prepare(record)
        prepared.save(self.layout.record)
        return prepared

    def _start(self, record: Record) -> None:
        """Start the servers, and when they answer all their clients at once."""
        components = self.components(record)
        servers = [component for component in components if component.name in SERVERS]
        self.progress.say(f"starting {', '.join(component.name for component in components)}")
        for component in servers:
            self.supervisor.start(component)
        workers = Workers(self.layout, self.api)
        workers.provide_images(record, lambda what, condition: self._wait(what, condition, servers))
        self._wait("the apiserver", self.api.ready, servers)
        workers.grant_rights(record)
        for component in components:
            self.supervisor.start(component)
        self._wait("the default service account", self._has_default_account, components)
        workers.set_up(record, lambda what, condition: self._wait(what, condition, components))

    def _has_default_account(self) -> bool:
        try:
            self.api.get("/api/v1/namespaces/default/serviceaccounts/default")
        except ApiError:
            return False
        return True

    def _wait(self, what: str, condition: Callable[[], bool], components: list[Component]) -> None:
        """Until the condition holds; raises NotReadyError at once if a component ends, or after READY_SECONDS."""
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            for component in components:
                self.supervisor.check(component)
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"{what} is not ready after {READY_SECONDS} s: see `hack/cluster status` and `logs`, "
                    "or start afresh with `hack/cluster down` and `up`"
                )
            time.sleep(0.1)

    def _sweep(self) -> None:
        """Leave nothing behind: processes first, as they hold the rest."""
        self.supervisor.stop_all()
        remove_strays(self.layout)
        mounts.unmount_below([self.layout.run, self.layout.data])
        self.cgroup.remove()
        for directory in (self.layout.run, self.layout.data):
            if directory.exists():
                shutil.rmtree(directory)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        said = False

        def say() -> None:
            nonlocal said
            if not said:
                self.progress.say(f"another hack/cluster works on {self.layout.name}, waiting for it")
            said = True

        with locks.held(self.layout.lock, say, LOCK_SECONDS):
            yield


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
