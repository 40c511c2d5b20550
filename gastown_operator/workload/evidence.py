"""Collects what is known when the agent has ended; what cannot be read is unknown."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gastown_operator.agents.result import read_result
from gastown_operator.gateway.message import GatewayRecord, decode
from gastown_operator.workload import wrapper_report
from gastown_operator.workload.agent_end import Evidence
from gastown_operator.workload.errors import UnreadableRepositoryError
from gastown_operator.workload.plain_files import read_beneath
from gastown_operator.workload.settings import Settings
from gastown_operator.workload.transcript import Transcript
from gastown_operator.workload.volumes import is_full

_MAXIMUM_RECORD: Final = 4096
_MAXIMUM_CAUSE: Final = 64


def collect(
    settings: Settings, hints: Path, control: Path, transcript: Transcript, volumes: Mapping[str, Path]
) -> Evidence:
    """What is known now.

    Args:
        settings: say which agent it is, and whether there is a gateway.
        hints: written by the agent's container.
        control: written by keeper and gateway.
        transcript: what the agent printed.
        volumes: directories by the names that users know them by, to be looked at for room.
    """
    return Evidence(
        wrapper_report.read(hints),
        stop_cause(control),
        read_result(settings.agent, transcript.tail()),
        _gateway_record(control) if settings.gateway else None,
        [name for name, path in volumes.items() if is_full(path)],
    )


def stop_cause(control: Path) -> str:
    """Why the agent was asked to stop; empty if it was not."""
    return _text(control, "stop", _MAXIMUM_CAUSE).strip()


def _gateway_record(control: Path) -> GatewayRecord | None:
    return decode(_text(control, "gateway.json", _MAXIMUM_RECORD))


def _text(directory: Path, name: str, maximum_bytes: int) -> str:
    try:
        content = read_beneath(directory, [name], maximum_bytes)
    except (OSError, UnreadableRepositoryError):
        return ""
    return (content or b"").decode("utf-8", "replace")
