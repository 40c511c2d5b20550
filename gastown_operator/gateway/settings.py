"""What the operator tells the gateway, through environment variables named GASTOWN_GATEWAY_*."""

from collections.abc import Mapping
from typing import Final

import attrs

#: Where the agent finds the gateway, on the pod's loopback.
PORT: Final = 4180
#: Where the kubelet and a PodMonitor find it. No secret is there, and nothing that costs money.
METRICS_PORT: Final = 4181

_PREFIX: Final = "GASTOWN_GATEWAY_"
_OWN_ADDRESS: Final = {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com"}


@attrs.frozen
class GatewaySettings:
    """One attempt of one polecat, as its gateway sees it.

    Attributes:
        provider: `anthropic`, `openai`, `ollama` or `litellm`.
        upstream: base URL of the provider's API, may have a path; empty for the provider's own.
        secret: name of the mounted Secret, for messages; empty where no credential is sent.
        secret_key: key of the Secret that is looked for first.
        model: where set, every request is answered by this model, whichever it names.
        max_tokens: budget of this attempt, input and output together; 0 for none.
        max_cost: budget of this attempt in USD, a decimal; empty for none.
        prices: JSON that overrides the price table, see `agents.prices.parse_overrides`; empty for none.
        first_byte_timeout: seconds until an answer begins.
        idle_timeout: seconds without progress after which an answer counts as broken off.
        polecat: `namespace/name`, for logs.
        ended_by_pipe: whether the end of the agent is seen at a FIFO (sidecar as an ordinary container).
        requests_per_minute: more than that for long and the agent is taken to be in a loop.
    """

    provider: str
    upstream: str = ""
    secret: str = ""
    secret_key: str = ""
    model: str = ""
    max_tokens: int = 0
    max_cost: str = ""
    prices: str = ""
    first_byte_timeout: float = 120.0
    idle_timeout: float = 60.0
    polecat: str = ""
    ended_by_pipe: bool = False
    requests_per_minute: float = 120.0

    @property
    def base(self) -> str:
        """The upstream without the `/v1` that every route brings. Raises ValueError where there is none."""
        url = self.upstream or _OWN_ADDRESS.get(self.provider, "")
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"provider {self.provider!r} needs the http(s) URL of its endpoint")
        return url.rstrip("/").removesuffix("/v1")

    def environment(self) -> dict[str, str]:
        """The variables from which `from_environment` reads the same settings."""
        values = {
            "PROVIDER": self.provider,
            "UPSTREAM": self.upstream,
            "SECRET": self.secret,
            "SECRET_KEY": self.secret_key,
            "MODEL": self.model,
            "MAX_TOKENS": str(self.max_tokens),
            "MAX_COST": self.max_cost,
            "PRICES": self.prices,
            "FIRST_BYTE_TIMEOUT": f"{self.first_byte_timeout:g}",
            "IDLE_TIMEOUT": f"{self.idle_timeout:g}",
            "POLECAT": self.polecat,
            "ENDED_BY_PIPE": "true" if self.ended_by_pipe else "false",
            "REQUESTS_PER_MINUTE": f"{self.requests_per_minute:g}",
        }
        return {_PREFIX + name: value for name, value in values.items()}


def from_environment(environment: Mapping[str, str]) -> GatewaySettings:
    """Read the settings that `GatewaySettings.environment` wrote; what an older operator does not set gets its default.

    Raises:
        KeyError: the provider is missing.
        ValueError: a variable is not what `GatewaySettings.environment` writes.
    """

    def value(name: str, default: str = "") -> str:
        return environment.get(_PREFIX + name, default)

    return GatewaySettings(
        provider=environment[_PREFIX + "PROVIDER"],
        upstream=value("UPSTREAM"),
        secret=value("SECRET"),
        secret_key=value("SECRET_KEY"),
        model=value("MODEL"),
        max_tokens=int(value("MAX_TOKENS", "0")),
        max_cost=value("MAX_COST"),
        prices=value("PRICES"),
        first_byte_timeout=float(value("FIRST_BYTE_TIMEOUT", "120")),
        idle_timeout=float(value("IDLE_TIMEOUT", "60")),
        polecat=value("POLECAT"),
        ended_by_pipe=value("ENDED_BY_PIPE", "false") == "true",
        requests_per_minute=float(value("REQUESTS_PER_MINUTE", "120")),
    )
