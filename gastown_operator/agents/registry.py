"""Which adapter knows which agent."""

from collections.abc import Mapping
from typing import Final

from gastown_operator.agents.aider import Aider
from gastown_operator.agents.claude_code import ClaudeCode
from gastown_operator.agents.custom import Custom
from gastown_operator.agents.launch import Adapter
from gastown_operator.agents.opencode import OpenCode
from gastown_operator.api.agentconfig import Agent

_ADAPTERS: Final[Mapping[Agent, Adapter]] = {
    Agent.CLAUDE_CODE: ClaudeCode(),
    Agent.OPENCODE: OpenCode(),
    Agent.AIDER: Aider(),
    Agent.CUSTOM: Custom(),
}


def adapter(agent: Agent) -> Adapter:
    """Return the adapter of an agent."""
    return _ADAPTERS[agent]
