"""The table of outcomes as data: what is tried with each agent, and how it must end."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from attrs import evolve, field, frozen

from gastown_operator.api.agentconfig import Agent, Provider

#: A model's budget that the second answer of the script `expensive` is beyond.
BUDGET: Final = 150_000


_CHAT: Final = "/v1/chat/completions"
_MESSAGES: Final = "/v1/messages"
#: The API by which each agent speaks to each provider.
ROUTES: Final[Mapping[Agent, Mapping[Provider, str]]] = {
    Agent.CLAUDE_CODE: dict.fromkeys(Provider, _MESSAGES),
    Agent.OPENCODE: {
        Provider.ANTHROPIC: _MESSAGES,
        Provider.OPENAI: "/v1/responses",
        Provider.LITELLM: _CHAT,
        Provider.OLLAMA: _CHAT,
    },
    Agent.AIDER: {
        Provider.ANTHROPIC: _MESSAGES,
        Provider.OPENAI: _CHAT,
        Provider.LITELLM: _CHAT,
        Provider.OLLAMA: "/api/chat",
    },
    Agent.CUSTOM: {
        Provider.ANTHROPIC: _MESSAGES,
        Provider.OPENAI: _CHAT,
        Provider.LITELLM: _CHAT,
        Provider.OLLAMA: "/api/chat",
    },
}


class Kept(StrEnum):
    """Where the work is in the end."""

    BRANCH = "branch"
    CHECKPOINT = "checkpoint"
    NOTHING = "nothing to keep"


class Disturbance(StrEnum):
    """What is done to a polecat while its agent works."""

    NONE = ""
    DRAIN = "drain"
    RESTART = "restart"


@frozen
class Ending:
    """How a polecat must end.

    Attributes:
        phase: of its status.
        reason: of its Ready condition.
        attempts: classes of its attempts, in order.
        kept: where its work is.
    """

    phase: str
    reason: str
    attempts: Sequence[str]
    kept: Kept


@frozen
class Scenario:
    """A row of the table.

    Attributes:
        title: what happens.
        model: name of the model, which chooses what the scripted model does.
        ending: for every agent that `exceptions` does not name.
        spec: of the Polecat.
        prepares: whether work is there, not committed, before the agent starts.
        disturbance: what is done to it.
        exceptions: endings of single agents.
    """

    title: str
    model: str
    ending: Ending
    spec: Mapping[str, Any] = field(factory=dict)
    prepares: bool = True
    disturbance: Disturbance = Disturbance.NONE
    exceptions: Mapping[Agent, Ending] = field(factory=dict)

    def ending_of(self, agent: Agent) -> Ending:
        """How the polecat with that agent must end."""
        return self.exceptions.get(agent, self.ending)


DONE: Final = Ending("Done", "Done", ("Succeeded",), Kept.BRANCH)
_REFUSED: Final = Ending("Stuck", "ModelRefused", ("AgentError",), Kept.CHECKPOINT)

SCENARIOS: Final = (
    Scenario("success", "success", DONE, prepares=False),
    Scenario(
        "no changes",
        "no_changes",
        Ending("Stuck", "NoChanges", ("NoChanges",), Kept.NOTHING),
        prepares=False,
    ),
    Scenario(
        "exit 1",
        "exit_1",
        _REFUSED,
        exceptions={Agent.CUSTOM: evolve(_REFUSED, reason="AgentExitCode")},
    ),
    Scenario(
        "401",
        "unauthorized",
        Ending("Stuck", "RigCredentialRejected", ("AuthError",), Kept.CHECKPOINT),
    ),
    Scenario(
        "429 storm",
        "storm",
        Ending("Stuck", "RateLimited", ("AgentError",), Kept.CHECKPOINT),
    ),
    Scenario("429 twice (Retry-After)", "limited", DONE),
    Scenario("529 twice", "recovers", DONE),
    Scenario("stream cut once", "cut_once", DONE),
    Scenario(
        "stream always cut", "cut", Ending("Stuck", "ModelUnavailable", ("AgentError",), Kept.CHECKPOINT)
    ),
    Scenario(
        "stall",
        "stall",
        Ending("Stuck", "Stalled", ("Stalled",), Kept.CHECKPOINT),
        spec={"maxIdleSeconds": 20},
    ),
    Scenario(
        "budget",
        "expensive",
        Ending("Stuck", "BudgetExceeded", ("BudgetExceeded",), Kept.CHECKPOINT),
        spec={"budget": {"maxTokens": BUDGET}},
    ),
    Scenario(
        "deadline",
        "patient",
        Ending("Stuck", "DeadlineExceeded", ("DeadlineExceeded",), Kept.CHECKPOINT),
        spec={"kubernetes": {"activeDeadlineSeconds": 15}},
    ),
    Scenario(
        "eviction (kubectl drain)",
        "patient",
        evolve(DONE, attempts=("Infrastructure", "Succeeded")),
        disturbance=Disturbance.DRAIN,
    ),
    Scenario("operator restart", "patient", DONE, disturbance=Disturbance.RESTART),
)
