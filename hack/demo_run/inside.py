"""The part of the demo that runs in the cluster's network: `hack/cluster exec -- python3 -m hack.demo_run.inside`."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hack.demo_run import objects, steps
from hack.demo_run.checkout import Checkout
from hack.demo_run.errors import DemoError, PolecatError
from hack.demo_run.failure import explain
from hack.demo_run.kubectl import Kubectl
from hack.demo_run.report import Result, proven_commit
from hack.demo_run.servers import REPOSITORY, Servers, running
from hack.demo_run.signals import InterruptedByUser, raise_on_signals
from hack.demo_run.streams import Streams
from hack.demo_run.transcript import printable
from hack.demo_run.watch import Watch
from hack.lab.progress import Progress

POLECAT = "toast"
RIG = "demo"
BEAD = "demo-1"
TASK = (
    "parse_duration returns a wrong result for durations of several units, such as 1h30m.\n"
    "Find out why, repair it, and commit. `python3 -m unittest` must pass."
)
# What the agent `custom` runs: any command that reads a prompt and changes the work tree is an agent.
REPAIR = """\
echo 'Each part replaces the sum instead of adding to it.'
sed -i 's/seconds = int(amount)/seconds += int(amount)/' durations/parsing.py
python3 -m unittest
git commit --all --message='Add up the units of a duration'
"""
CUSTOM_COMMAND = ("sh", "-ec", REPAIR)


@dataclass(frozen=True)
class Demo:
    """One run of the demo on a cluster that has the images."""

    kubectl: Kubectl
    servers: Servers
    agent: str
    seconds: float
    progress: Progress

    def run(self) -> Result:
        """Let a polecat repair the project and prove it; raises DemoError where that fails."""
        checkout = self._clone()
        with self.progress.step(f"giving the cluster a Rig, {RIG}, with the credentials of its repository"):
            steps.introduce(self.kubectl, RIG, self.servers)
        phase = self._work()
        return self._prove(checkout, phase)

    def _clone(self) -> Checkout:
        directory = self.servers.directory / "checkout"
        with self.progress.step(f"cloning {self.servers.url} and running its tests, which must fail"):
            checkout = Checkout.clone(
                directory, self.servers.url, self.servers.key.private, self.servers.known_hosts
            )
            before = checkout.test()
        if before.passed:
            raise DemoError(f"the tests of {REPOSITORY} pass already, so there is nothing to repair")
        self.progress.say(f"  main: {before.summary}")
        return checkout

    def _work(self) -> str:
        polecat = objects.polecat(
            *(POLECAT, self.kubectl.namespace, RIG, TASK),
            bead=BEAD,
            agent=self.agent,
            command=CUSTOM_COMMAND if self.agent == "custom" else (),
        )
        self.progress.say("creating a Polecat, and watching it:")
        show(self.kubectl.as_yaml(polecat))
        with Streams() as streams:
            watch = Watch(self.kubectl, streams, POLECAT, self._tell)
            watch.begin()
            self.kubectl.apply(polecat)
            uid = self.kubectl.get("polecat", POLECAT)["metadata"]["uid"]
            return watch.until_end(uid, self.seconds)

    def _tell(self, source: str, text: str) -> None:
        self.progress.say(f"{source:<8} {text}")

    def _prove(self, checkout: Checkout, phase: str) -> Result:
        status = self.kubectl.get("polecat", POLECAT)["status"]
        commit = proven_commit(status, checkout)
        branch = status["branch"]
        self.progress.say(f"the git server has {commit} on {branch}, as the status says")
        checkout.switch(branch, commit)
        after = checkout.test()
        if not after.passed:
            raise PolecatError(f"the tests of {REPOSITORY} do not pass on {commit}: {after.summary}")
        self.progress.say(f"  {branch}: {after.summary}")
        print()
        show(self.kubectl.run("get", "polecat", POLECAT, "--output=wide"))
        show(checkout.git("log", "--format=fuller", "--patch", "origin/main..HEAD"))
        elapsed = round(time.monotonic() - self.progress.started, 1)
        return Result(POLECAT, phase, branch, commit, elapsed)


def show(text: str) -> None:
    """Print a text of several lines as a block of its own."""
    for line in text.splitlines():
        print(f"    {printable(line)}".rstrip())
    print(flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, which `hack/demo` gives."""
    parser = argparse.ArgumentParser(prog="python3 -m hack.demo_run.inside", description=__doc__)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--operator-image", required=True)
    parser.add_argument("--workload-image", required=True)
    parser.add_argument("--agent-image", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="how long the polecat may take")
    parser.add_argument("--began", type=float, required=True, help="monotonic time at which the demo began")
    parser.add_argument(
        "--result", type=int, required=True, help="file descriptor for the last line of the demo"
    )
    parser.add_argument("--keep", action="store_true", help="go on serving until a signal")
    return parser.parse_args(arguments)


def demonstrate(options: argparse.Namespace, progress: Progress) -> None:
    """Deploy the operator and let a polecat work; raises DemoError."""
    images = steps.Images(options.operator_image, options.workload_image, options.agent_image)
    kubectl = Kubectl(steps.WORK_NAMESPACE)
    with progress.step("applying the CRDs: make install"):
        steps.install()
    with progress.step("deploying the operator: make deploy IMG=… WORKLOAD_IMG=… AGENT_IMG=…"):
        steps.deploy(images)
    steps.remove_former(kubectl, POLECAT, RIG)
    progress.say("starting a git server" + (" and a scripted model" if options.agent != "custom" else ""))
    address = os.environ["GASTOWN_LAB_NODE_ADDRESS"]
    with running(address, with_model=options.agent != "custom") as servers:
        demo = Demo(kubectl, servers, options.agent, options.seconds, progress)
        try:
            result = demo.run()
        except PolecatError as error:
            progress.say(f"FAILED: {error}")
            for line in (*explain(kubectl, POLECAT), "--- log of the servers", *servers.log()):
                print(line, flush=True)
            raise
        os.write(options.result, result.as_json().encode())
        if options.keep:
            progress.say(f"the servers go on until Ctrl-C; the repository is {servers.url}")
            wait_for_signal()


def wait_for_signal() -> None:
    """Return when we are asked to end."""
    try:
        signal.pause()
    except InterruptedByUser:
        return


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    options = parse(arguments)
    raise_on_signals()
    os.umask(0o022)  # tests run as nobody, and must be able to read what was cloned
    try:
        demonstrate(options, Progress("demo", sys.stdout, options.began))
    except DemoError as error:
        print(f"hack/demo: {error}", file=sys.stderr)
        return 1
    except InterruptedByUser as interruption:
        return interruption.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
