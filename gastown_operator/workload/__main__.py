"""Programs of the workload image: `python -m gastown_operator.workload clone | keeper | checkpoint | housekeeping | credential`."""

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from gastown_operator.workload import clone_record, housekeeping_settings, layout, signatures, user_files
from gastown_operator.workload.clone import Clone, ClonePaths
from gastown_operator.workload.credentials import CredentialFiles, access, answer
from gastown_operator.workload.errors import AttemptError, WorkloadError
from gastown_operator.workload.git import Git
from gastown_operator.workload.housekeeping import Housekeeping
from gastown_operator.workload.housekeeping_report import HousekeepingReport
from gastown_operator.workload.housekeeping_settings import HousekeepingSettings
from gastown_operator.workload.journal import JsonJournal
from gastown_operator.workload.keeper import Keeper
from gastown_operator.workload.message import Outcome, TerminationMessage
from gastown_operator.workload.metrics import PORT as METRICS_PORT
from gastown_operator.workload.metrics_server import serving
from gastown_operator.workload.remote import Remote
from gastown_operator.workload.salvage import Salvage
from gastown_operator.workload.settings import Settings, from_environment
from gastown_operator.workload.signals import Wakeups
from gastown_operator.workload.snapshot import Snapshots
from gastown_operator.workload.work import Work

_PROCESS_ID = layout.KEEPER / "pid"


def _publish(message: TerminationMessage | HousekeepingReport) -> None:
    try:
        layout.TERMINATION_LOG.write_bytes(message.encode())
    except OSError as error:
        # The node's disk is full: the work must still be pushed, and the next attempt reads the git server.
        JsonJournal("workload")(
            "cannot write the termination message", cause=str(error), reason=message.reason
        )


def _remote(settings: Settings | HousekeepingSettings) -> Remote:
    files = CredentialFiles(
        layout.GIT_CREDENTIALS, settings.git_secret, settings.namespace, layout.KNOWN_HOSTS, layout.PRIVATE
    )
    return Remote(settings.repository, access(settings.repository, files, settings.host_key_checking))


def run_clone(settings: Settings) -> int:
    """Exit status of the init container; its termination message says why it is not 0."""
    journal = JsonJournal("clone")
    paths = ClonePaths(
        layout.REPOSITORY,
        layout.CONTROL,
        layout.HINTS,
        layout.KEEPER_GIT_DIR,
        layout.CLONE_RECORD,
        layout.CLONE_FILES,
    )
    try:
        user_files.check(settings.agent_config, settings.namespace, layout.AGENT_CONFIG)
        Clone(settings, _remote(settings), paths, journal).run()
    except AttemptError as error:
        _publish(TerminationMessage(error.outcome, error.reason, error.message))
        journal("failed", reason=error.reason, cause=error.message)
        return 1
    except (WorkloadError, OSError) as error:
        _publish(TerminationMessage(Outcome.INFRASTRUCTURE, "CloneFailed", str(error)))
        journal("failed", reason="CloneFailed", cause=str(error))
        return 1
    return 0


def run_keeper(settings: Settings) -> int:
    """Exit status of the sidecar: always 0, since the agent's decides the pod's phase."""
    pipe = layout.ALIVE if settings.ended_by_pipe else None
    with Wakeups((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1), pipe) as wakeups:
        journal = JsonJournal("keeper")
        _make_places(journal)
        record = clone_record.read(layout.CLONE_RECORD)
        remote = _remote(settings)
        git = Git(layout.KEEPER_GIT_DIR, work_tree=layout.REPOSITORY, index=layout.KEEPER_INDEX)
        known = signatures.read(layout.CLONE_FILES)
        snapshots = Snapshots(git, layout.REPOSITORY, layout.KEEPER_SCRATCH, known)
        work = Work(git, snapshots, layout.REPOSITORY, settings, record, remote, journal)
        keeper = Keeper(
            settings,
            record,
            remote,
            git,
            work,
            Salvage(git, record.base, layout.KEEPER, sys.stdout),
            layout.HINTS,
            layout.CONTROL,
            layout.KEEPER,
            journal,
            time.monotonic,
            _publish,
        )
        with serving(keeper.metrics, METRICS_PORT, journal):
            keeper.run(wakeups)
    return 0


def _make_places(journal: JsonJournal) -> None:
    """What the keeper needs on its volume; where that is full, commits can still be pushed without."""
    try:
        layout.KEEPER_SCRATCH.mkdir(exist_ok=True)
        _PROCESS_ID.write_text(str(os.getpid()))
    except OSError as error:
        journal("the keeper's volume cannot be written", cause=str(error))


def run_checkpoint() -> int:
    """The keeper's preStop hook: returns at once; the checkpoint goes on beside the end of the agent."""
    text = _PROCESS_ID.read_text() if _PROCESS_ID.exists() else ""
    if text.isdigit():
        os.kill(int(text), signal.SIGUSR1)
    return 0


def run_housekeeping(settings: HousekeepingSettings) -> int:
    """Exit status of the Job's container: 0 but where trying again may help, which the Job then does."""
    journal = JsonJournal("housekeeping")
    try:
        report = Housekeeping(settings, _remote(settings), layout.PRIVATE / "housekeeping.git", journal).run()
    except AttemptError as error:
        report = HousekeepingReport(error.outcome, error.reason, error.message)
    except (WorkloadError, OSError) as error:
        report = HousekeepingReport(Outcome.INFRASTRUCTURE, "HousekeepingFailed", str(error))
    _publish(report)
    journal("ended", outcome=report.outcome, reason=report.reason, cause=report.message)
    return 1 if report.outcome is Outcome.INFRASTRUCTURE else 0


def run_credential(arguments: Sequence[str]) -> int:
    """A git credential helper: `credential REPOSITORY SECRET_DIRECTORY get`, the request on standard input."""
    repository, secret, operation = arguments
    if operation != "get":
        return 0
    request = dict(line.rstrip("\n").split("=", 1) for line in sys.stdin if "=" in line)
    for name, value in answer(request, repository, Path(secret)).items():
        print(f"{name}={value}")  # noqa: T201 - the protocol of credential helpers
    return 0


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the program named by the first argument."""
    match list(arguments):
        case ["clone"]:
            return run_clone(from_environment(environment))
        case ["keeper"]:
            return run_keeper(from_environment(environment))
        case ["checkpoint"]:
            return run_checkpoint()
        case ["housekeeping"]:
            return run_housekeeping(housekeeping_settings.from_environment(environment))
        case ["credential", *rest] if len(rest) == 3:
            return run_credential(rest)
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201 - usage
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
