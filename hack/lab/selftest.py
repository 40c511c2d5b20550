"""Checks the lab itself, on this machine: ``python3 -m hack.lab.selftest``. Takes minutes; needs root.

It brings clusters up and down for real, kills the script and the components at awkward moments, and looks for
anything that is left. Every check is one line of the table; the exit status is 1 if one failed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from hack.lab import process
from hack.lab.cgroups import Cgroup
from hack.lab.images import program_image
from hack.lab.layout import PAUSE_IMAGE, Layout
from hack.lab.leftovers import leftovers
from hack.lab.netns import NetworkNamespace
from hack.lab.supervisor import Supervisor

PROGRAM = Path(__file__).parent.parent / "cluster"
KUBECTL_IMAGE = "localhost/selftest-kubectl:1"
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": 65535,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
# Seconds into `up` at which it is killed: while preparing, starting servers, starting clients, waiting.
KILL_TIMES = (0.15, 0.3, 0.6, 1.5, 3.0, 4.5)

EVERYTHING = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
]


class CheckError(Exception):
    """A check did not find what it should; the message says what it found."""


def container(name: str, image: str = PAUSE_IMAGE, **settings: Any) -> dict[str, Any]:
    """A container that PodSecurity `restricted` admits."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "Never",
        "securityContext": RESTRICTED,
    } | settings


def pod(name: str, main: dict[str, Any], *init: dict[str, Any]) -> dict[str, Any]:
    """A pod that runs once."""
    spec = {"restartPolicy": "Never", "initContainers": list(init), "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@dataclass
class Selftest:
    """The checks, and what they took."""

    name: str
    rows: list[tuple[str, float, str]] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        """The paths of the cluster that is checked."""
        return Layout(self.name)

    def run(self) -> int:
        """Run everything; returns the exit status."""
        self._check("down: from whatever was before", self._down)
        self._check("up: one real node", lambda: self._cluster("up"))
        self._check("up again: ready already", lambda: self._quick(lambda: self._cluster("up"), 2))
        self._check("status", lambda: self._cluster("status"))
        self._check("pod: init container, sidecar, main; restricted", self._pod_with_sidecar)
        self._check("pod: reaches the API by its DNS name", self._pod_reaches_api)
        for names in (["etcd"], ["kube-apiserver"], ["containerd", "kubelet"], EVERYTHING):
            self._check(f"SIGKILL {', '.join(names)}; up", partial(self._repair, names))
        self._check("restart the apiserver", lambda: self._cluster("restart", "kube-apiserver"))
        self._check("pod: after the repairs", self._pod_with_sidecar)
        self._check("down: nothing is left", self._down)
        for seconds in KILL_TIMES:
            self._check(
                f"SIGKILL up after {seconds} s; down: nothing is left", partial(self._killed_up, seconds)
            )
        self._check("SIGKILL up after 2 s; up", lambda: self._killed_up(2, then=lambda: self._cluster("up")))
        self._check("SIGKILL down after 0.3 s; down: nothing is left", self._killed_down)
        self._check("up: fake nodes", lambda: self._cluster("up", "--nodes=kwok"))
        self._check("pod: Running on a fake node", self._fake_pod)
        self._check("down: nothing is left", self._down)
        return self._report()

    def _check(self, what: str, action: Callable[[], object]) -> None:
        began = time.monotonic()
        try:
            action()
            result = "ok"
        except CheckError as error:
            result = f"FAILED: {error}"
        self.rows.append((what, time.monotonic() - began, result))
        print(f"selftest: {what}: {result}", file=sys.stderr, flush=True)

    def _report(self) -> int:
        width = max(len(what) for what, _, _ in self.rows)
        for what, seconds, result in self.rows:
            print(f"{what:<{width}}  {seconds:7.1f} s  {result}")
        failed = sum(result != "ok" for _, _, result in self.rows)
        print(f"{len(self.rows) - failed} passed, {failed} failed")
        return 1 if failed else 0

    def _cluster(self, verb: str, *arguments: str, after: Sequence[str] = (), text: str = "") -> str:
        """Run hack/cluster; returns what it printed, raises CheckError if it fails."""
        command = [str(PROGRAM), verb, f"--name={self.name}", *arguments, *(["--", *after] if after else [])]
        result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if result.returncode:
            raise CheckError(f"`{' '.join(command[1:])}`: {result.stderr.strip()[-400:]}")
        return result.stdout

    def _kubectl(self, *arguments: str, manifest: dict[str, Any] | None = None) -> str:
        return self._cluster(
            "exec", after=["kubectl", *arguments], text=json.dumps(manifest) if manifest else ""
        )

    def _quick(self, action: Callable[[], object], seconds: float) -> None:
        began = time.monotonic()
        action()
        if (took := time.monotonic() - began) > seconds:
            raise CheckError(f"took {took:.1f} s, should be at most {seconds}")

    def _down(self) -> None:
        self._cluster("down")
        if found := leftovers(self.layout, Cgroup.on_this_machine(self.layout.cgroup)):
            raise CheckError("; ".join(found))

    def _completed(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The pod after it has succeeded; it is deleted."""
        name = manifest["metadata"]["name"]
        self._kubectl("create", "-f", "-", manifest=manifest)
        try:
            self._kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
            found: dict[str, Any] = json.loads(self._kubectl("get", "pod", name, "-o", "json"))
        except CheckError as error:
            log = self._kubectl("logs", name, "--all-containers", "--tail=3")
            raise CheckError(f"{error}; its logs: {log[-400:]}") from error
        finally:
            self._kubectl("delete", "pod", name, "--now")
        return found

    def _pod_with_sidecar(self) -> None:
        self._kubectl(
            "label", "namespace", "default", "--overwrite", "pod-security.kubernetes.io/enforce=restricted"
        )
        sidecar = container("sidecar", restartPolicy="Always")
        found = self._completed(
            pod("sidecar", container("main", args=["-v"]), container("init", args=["-v"]), sidecar)
        )
        states = {status["name"]: status["state"] for status in found["status"]["initContainerStatuses"]}
        if states["sidecar"].get("terminated", {}).get("exitCode") != 0:
            raise CheckError(f"the sidecar did not end with 0: {states}")

    def _pod_reaches_api(self) -> None:
        """Kubectl in a pod, with the pod's own token, by the API's DNS name: CoreDNS, kube-proxy, bridge, accounts."""
        program = (self.layout.bin / "kubectl").resolve()
        with tempfile.TemporaryDirectory() as directory:
            archive = Path(directory) / "kubectl.tar"
            archive.write_bytes(program_image(program.read_bytes(), "kubectl", KUBECTL_IMAGE))
            self._cluster("load", str(archive))
        by_name = {"name": "KUBERNETES_SERVICE_HOST", "value": "kubernetes.default.svc.cluster.local"}
        self._completed(
            pod("api", container("main", KUBECTL_IMAGE, args=["get", "--raw", "/readyz"], env=[by_name]))
        )

    def _repair(self, names: list[str]) -> None:
        layout = self.layout
        supervisor = Supervisor(layout, Cgroup.on_this_machine(layout.cgroup), NetworkNamespace(layout.netns))
        process.stop([found for name in names if (found := supervisor.running(name))], grace=0)
        self._cluster("up")
        self._cluster("status")

    def _killed_up(self, seconds: float, then: Callable[[], object] | None = None) -> None:
        self._kill("up", seconds)
        (then or self._down)()

    def _killed_down(self) -> None:
        self._kill("down", 0.3)
        self._down()

    def _kill(self, verb: str, seconds: float) -> None:
        """Start the verb and SIGKILL it after a while; it may have ended before."""
        with subprocess.Popen([PROGRAM, verb, f"--name={self.name}"], stderr=subprocess.DEVNULL) as child:
            try:
                child.wait(seconds)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)

    def _fake_pod(self) -> None:
        sidecar = container("sidecar", restartPolicy="Always")
        self._kubectl(
            "create", "-f", "-", manifest=pod("fake", container("main"), container("init"), sidecar)
        )
        self._kubectl("wait", "pod/fake", "--for=condition=Ready", "--timeout=60s")
        self._kubectl("delete", "pod", "fake")


def main(arguments: Sequence[str]) -> int:
    """Run the checks; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python3 -m hack.lab.selftest", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--name", default="selftest", help="of the clusters it makes (default: %(default)s)")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("selftest: needs root, as the lab does: run it as root", file=sys.stderr)
        return 2
    return Selftest(options.name).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
