"""Where the agent's model is, whose credential is shown to it, and whether the gateway stands between (DESIGN §6, §11)."""

from typing import Final

from attrs import frozen

from gastown_operator.agents.prices import parse_overrides, price_of
from gastown_operator.agents.registry import adapter
from gastown_operator.api.agentconfig import Agent, AgentConfig, Provider
from gastown_operator.api.common import SecretKeySelector
from gastown_operator.api.polecat import GatewayMode, Polecat
from gastown_operator.api.rig import Rig, RigProvider
from gastown_operator.controllers.polecat.budget import is_limited, limits_cost
from gastown_operator.controllers.polecat.permission import RefusedError, check_named
from gastown_operator.controllers.settings import OperatorSettings

_PRICED_BY: Final = "the operator's prices (make deploy MODEL_PRICES=FILE, its option --model-prices)"


@frozen
class ModelAccess:
    """How an agent reaches its model.

    Attributes:
        provider: whose API it speaks.
        endpoint: base URL of the API; the provider's own where empty.
        credential: Secret and key; the gateway finds the key itself where that is empty. None where none is sent.
        of_rig: whether the credential is the rig's.
        gateway: whether the gateway stands between, so that the agent holds no credential.
        model: what agents ask for; any other model is answered with this one; empty where the agent chooses.
    """

    provider: Provider
    endpoint: str
    credential: SecretKeySelector | None
    of_rig: bool
    gateway: bool
    model: str


#: A credential of a rig's, as it is shown to one place: whose API, the endpoint, and Secret and key, or None where none is sent.
Loan = tuple[Provider, str, SecretKeySelector | None]


def loan(polecat: Polecat, rig: Rig) -> Loan | None:
    """What the rig lends a polecat for its model; None where that has a credential of its own, no model, or nothing it may have."""
    provider = asked_provider(polecat, rig) or adapter(chosen_agent(polecat, rig)).default_provider
    if provider is None:
        return None
    try:
        access = _access(polecat, rig, provider, "")
    except RefusedError:
        return None
    return (provider, access.endpoint.rstrip("/"), access.credential) if access.of_rig else None


def chosen_agent(polecat: Polecat, rig: Rig) -> Agent:
    """The agent that the polecat names, or its rig, or else the older operator's default."""
    return polecat.spec.agent or rig.spec.defaults.agent or Agent.CLAUDE_CODE


def asked_provider(polecat: Polecat, rig: Rig) -> Provider | None:
    """The provider that the polecat chose, or else its rig."""
    own, default = polecat.spec.agent_config, rig.spec.defaults.agent_config
    return chosen_provider(own, rig) or chosen_provider(default, rig)


def model_access(
    polecat: Polecat, rig: Rig, agent: Agent, config: AgentConfig, settings: OperatorSettings
) -> ModelAccess | None:
    """How the agent of a polecat reaches its model; None for a custom agent that nobody told of a provider.

    Raises:
        RefusedError: the rig does not lend its credential to that endpoint, or a budget could not be kept.
    """
    provider = config.provider or adapter(agent).default_provider
    if provider is None:
        _check_nothing_needs_a_gateway(polecat, rig)
        return None
    access = _access(polecat, rig, provider, config.model)
    if is_limited(polecat, rig):
        _check_budget(polecat, rig, access, settings)
    return access


def chosen_provider(config: AgentConfig, rig: Rig) -> Provider | None:
    """The provider that somebody chose, with an endpoint of its own or by the name of one of the rig's."""
    chosen = config.chosen_provider
    if chosen is None and any(entry.name == config.provider for entry in rig.spec.providers):
        return config.provider
    return chosen


def check_destination(access: ModelAccess, rig: Rig) -> None:
    """Raise RefusedError where the rig's credential would go to another provider than the rig's, at that one's well-known address."""
    lent_to = chosen_provider(rig.spec.defaults.agent_config, rig) or Provider.ANTHROPIC
    if (
        access.of_rig
        and access.credential is not None
        and not access.endpoint
        and access.provider is not lent_to
    ):
        raise RefusedError(
            "EndpointNotAllowed",
            f'"{access.provider}" is not among the providers of Rig "{rig.metadata.name}", whose credential is for "{lent_to}"; '
            "add it to the rig's spec.providers, or set modelProvider.apiKeySecretRef to a Secret that the rig allows",
        )


def _access(polecat: Polecat, rig: Rig, provider: Provider, model: str) -> ModelAccess:
    own, default = polecat.spec.agent_config.model_provider, rig.spec.defaults
    entry = _entry(rig, provider, own.endpoint or default.agent_config.model_provider.endpoint)
    endpoint = own.endpoint or default.agent_config.model_provider.endpoint
    if not endpoint and entry is not None:
        endpoint = entry.endpoint
    lent = _rigs_credential(rig, provider, endpoint, entry)
    given = _given(polecat)
    of_rig = given is None or given == lent
    if given is not None and not of_rig:
        check_named("Secret", [given.name], rig.spec.allowed_secrets, rig)
    foreign = own.endpoint not in ("", default.agent_config.model_provider.endpoint) and entry is None
    if foreign and of_rig:
        raise RefusedError(
            "EndpointNotAllowed",
            f'"{own.endpoint}" is not among the providers of Rig "{rig.metadata.name}", so the rig\'s credential is not used for '
            "it; add it to the rig's spec.providers, or set modelProvider.apiKeySecretRef to a Secret that the rig allows",
        )
    gateway = polecat.spec.gateway is not GatewayMode.DISABLED
    credential = given if given is not None else lent
    if not gateway and credential is not None and not credential.key:
        raise RefusedError(
            "GatewayNeeded",
            "spec.kubernetes.claudeCredsSecretRef is for the gateway, which reads the access token from it; remove "
            "spec.gateway: Disabled, or name an API key with spec.kubernetes.apiKeySecretRef",
        )
    return ModelAccess(provider, endpoint, credential, of_rig, gateway, model)


def _entry(rig: Rig, provider: Provider, endpoint: str) -> RigProvider | None:
    """The rig's provider with that endpoint; where none is given, the one of the provider's name."""
    if endpoint:
        same = (known for known in rig.spec.providers if known.endpoint.rstrip("/") == endpoint.rstrip("/"))
        return next(same, None)
    return next((known for known in rig.spec.providers if known.name == provider.value), None)


def _rigs_credential(
    rig: Rig, provider: Provider, endpoint: str, entry: RigProvider | None
) -> SecretKeySelector | None:
    """What the rig lends to that endpoint: each of its credentials is for one.

    Its default credential is never shown to an Ollama server, which asks for none.
    """
    default = rig.spec.defaults
    own = default.agent_config.model_provider
    if own.api_key_secret_ref is not None and endpoint.rstrip("/") == own.endpoint.rstrip("/"):
        return own.api_key_secret_ref
    if entry is not None:
        secret = entry.secret_ref
        return SecretKeySelector(secret.name, secret.key) if secret is not None else None
    if provider is Provider.OLLAMA:
        return None
    return SecretKeySelector(default.provider_secret_ref.name, default.provider_secret_ref.key)


def _given(polecat: Polecat) -> SecretKeySelector | None:
    """The polecat's own credential, if it names one."""
    own = polecat.spec.kubernetes
    given = polecat.spec.agent_config.model_provider.api_key_secret_ref or own.api_key_secret_ref
    if given is None and own.claude_creds_secret_ref is not None:
        return SecretKeySelector(own.claude_creds_secret_ref.name, "")
    return given


def _check_nothing_needs_a_gateway(polecat: Polecat, rig: Rig) -> None:
    wanted = "spec.gateway: Enabled" if polecat.spec.gateway is GatewayMode.ENABLED else ""
    if is_limited(polecat, rig):
        wanted = "a budget (its own, or its rig's)"
    if wanted:
        raise RefusedError(
            "ProviderMissing",
            f'{wanted} needs the gateway, and agent "custom" has one only where agentConfig.provider says whose API it speaks; set that, or remove the other',
        )


def _check_budget(polecat: Polecat, rig: Rig, access: ModelAccess, settings: OperatorSettings) -> None:
    """A budget is kept by the gateway, and one in dollars by the price of the model: without them nothing starts."""
    if not access.gateway:
        raise RefusedError(
            "BudgetNeedsGateway",
            "spec.gateway is Disabled, so nothing could keep the budget; remove spec.gateway, or the budget (its own, and its rig's)",
        )
    if not limits_cost(polecat, rig):
        return
    model = access.model
    if not model:
        raise RefusedError(
            "ModelMissing", "a budget in US dollars needs agentConfig.model, whose price is then known"
        )
    if price_of(model, parse_overrides(settings.model_prices)) is None:
        raise RefusedError(
            "PriceUnknown",
            f'the price of model "{model}" is not known, so a budget in US dollars could not be kept; add it to {_PRICED_BY}, '
            "or limit tokens (budget.maxTokens) instead",
        )
