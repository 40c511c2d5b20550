"""Which adapter knows which agent."""

from collections.abc import Mapping
from typing import Final

from gastown_operator.agents.claude_code import ClaudeCode
from gastown_operator.agents.custom import Custom
from gastown_operator.agents.launch import Adapter, AgentConfigError
from gastown_operator.api.agentconfig import Agent

_ADAPTERS: Final[Mapping[Agent, Adapter]] = {Agent.CLAUDE_CODE: ClaudeCode(), Agent.CUSTOM: Custom()}


def adapter(agent: Agent) -> Adapter:
    """Return the adapter of an agent. Raises AgentConfigError for one that this version cannot run."""
    known = _ADAPTERS.get(agent)
    if known is None:
        names = ", ".join(sorted(_ADAPTERS))
        raise AgentConfigError(
            "AgentNotSupported", f'agent "{agent}" is not supported by this version; it runs {names}'
        )
    return known
