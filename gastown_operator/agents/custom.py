"""Any command that reads a prompt on standard input and changes the work tree."""

from collections.abc import Collection

from attrs import frozen

from gastown_operator.agents.launch import AgentConfigError, Launch, LaunchRequest, given_environment


@frozen
class Custom:
    """Runs `agentConfig.command` with `agentConfig.args`; a credential only reaches it through `agentConfig.env`."""

    holds_key: bool = False
    reserved: Collection[str] = ()

    def launch(self, request: LaunchRequest) -> Launch:
        """Return the container's image, command and environment. Raises AgentConfigError."""
        config = request.config
        if not config.command:
            raise AgentConfigError(
                "CommandMissing", 'agent "custom" needs agentConfig.command, for example ["sh", "-c", "…"]'
            )
        return Launch(
            image=config.image or request.default_image,
            command=[*config.command, *config.args],
            environment=given_environment(config),
            model=config.model,
        )
