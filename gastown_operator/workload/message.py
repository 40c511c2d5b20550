"""Termination messages: how clone and keeper tell the operator what came of an attempt.

The kubelet shares 12 KiB among a pod's containers, so a message is ASCII JSON of at most 1 KiB.
https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import attrs

VERSION = 1
MAXIMUM_BYTES = 1024
_MAXIMUM_TEXT = 480


class Outcome(StrEnum):
    """What clone or keeper says of an attempt."""

    SUCCEEDED = "Succeeded"
    """The agent ended with exit status 0 and its commits are on the remote."""
    NO_CHANGES = "NoChanges"
    """The agent ended with exit status 0 and there is nothing to push."""
    AGENT_ERROR = "AgentError"
    """The agent ended with another exit status, or says itself that it failed, or its model's provider did."""
    AUTH_ERROR = "AuthError"
    """The model's provider refuses the credential."""
    BUDGET_EXCEEDED = "BudgetExceeded"
    """The gateway stopped the agent at its budget of tokens or money."""
    STALLED = "Stalled"
    """The agent was stopped because it did nothing for too long."""
    RESOURCE_EXCEEDED = "ResourceExceeded"
    """A volume of the pod is full."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """The agent was stopped at its deadline."""
    INTERRUPTED = "Interrupted"
    """The pod was told to end while the agent was working."""
    CONFIG_ERROR = "ConfigError"
    """Something that only a person can change: credential, host key, branch, a push that the server refuses."""
    INFRASTRUCTURE = "Infrastructure"
    """Something that may be gone at the next try: the git server is out of reach."""


@attrs.frozen
class TerminationMessage:
    """One container's last word.

    Attributes:
        outcome: what came of the attempt, as this container sees it.
        reason: CamelCase, stable; becomes the reason of a condition.
        message: one or two sentences for a person, with the next step; free of secrets.
        branch: the branch that holds the work, without `refs/heads/`; empty where nothing was pushed to one.
        base: commit that the work started from.
        head: newest commit of the work.
        commits: how many commits `head` has beyond `base`.
        pushed: whether the remote was seen to hold `head` on `branch` after the push.
        checkpoint: commit under the checkpoint ref that holds work which is not on the branch; may be empty.
    """

    outcome: Outcome
    reason: str
    message: str = ""
    branch: str = ""
    base: str = ""
    head: str = ""
    commits: int = 0
    pushed: bool = False
    checkpoint: str = ""

    def encode(self) -> bytes:
        """ASCII JSON of at most 1 KiB; the message text is shortened to fit, never the rest."""
        return bounded({"v": VERSION, **attrs.asdict(self)})


def bounded(body: Mapping[str, Any]) -> bytes:
    """A body as ASCII JSON of at most 1 KiB; its `message` is shortened to fit, never the rest."""
    text = body["message"]
    while True:
        encoded = json.dumps({**body, "message": text}, separators=(",", ":"), ensure_ascii=True).encode(
            "ascii"
        )
        if len(encoded) <= MAXIMUM_BYTES or not text:
            return encoded
        text = (
            text[: min(len(text) - 1, _MAXIMUM_TEXT) // 2]
            if len(text) <= _MAXIMUM_TEXT
            else text[:_MAXIMUM_TEXT]
        )


def parsed(text: str) -> dict[str, Any] | None:
    """The body in `text`, or None where it is absent, cut short, or of another version."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) and body.get("v") == VERSION else None


def decode(text: str) -> TerminationMessage | None:
    """The message in `text`, or None where it is absent, cut short, of another version, or not ours.

    The operator must treat None as "not known": the next attempt's clone asks the remote.
    """
    body = parsed(text)
    return _structure(body) if body is not None else None


def _structure(body: dict[str, Any]) -> TerminationMessage | None:
    types: dict[str, type] = dict.fromkeys(("branch", "base", "head", "message", "checkpoint", "reason"), str)
    types |= {"commits": int, "pushed": bool}
    if body.get("outcome") not in list(Outcome) or not isinstance(body.get("reason"), str):
        return None
    values = {name: body[name] for name in types if name in body}
    if any(type(value) is not types[name] for name, value in values.items()):
        return None
    return TerminationMessage(outcome=Outcome(body["outcome"]), **values)
