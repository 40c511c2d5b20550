"""Which copies of a credential there are to be, and in which namespaces: pure."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import field, frozen

from gastown_operator.api import labels
from gastown_operator.api.rig import Rig
from gastown_operator.controllers.credential.oauth import MalformedCredentialError, OAuth, find_oauth
from gastown_operator.controllers.credential.secret import (
    COMPONENT,
    OPAQUE,
    SOURCE,
    Secret,
    digest_of,
)
from gastown_operator.runtime.objects import ObjectKey, Resource, format_time
from gastown_operator.runtime.plan import Action, Apply, Delete


@frozen
class Observed:
    """One moment of a credential.

    Attributes:
        resource: the kind under which its Secrets are cached.
        key: the operator's own Secret.
        source: its present state.
        others: Secrets of the same name elsewhere.
        namespaces: where rigs name it.
    """

    resource: Resource[Secret]
    key: ObjectKey
    source: Secret | None
    others: tuple[Secret, ...]
    namespaces: frozenset[str]


def credential_names(rig: Rig) -> frozenset[str]:
    """Index: the Secrets that a rig names for its repository and its providers."""
    spec = rig.spec
    providers = {provider.secret_ref.name for provider in spec.providers if provider.secret_ref is not None}
    own = spec.defaults.agent_config.model_provider.api_key_secret_ref
    names = providers | {spec.defaults.git_secret_ref.name, spec.defaults.provider_secret_ref.name}
    return frozenset(names | ({own.name} if own is not None else set()))


def work_namespaces(rigs: Iterable[Rig]) -> frozenset[str]:
    """Where polecats of these rigs may run."""
    return frozenset(
        namespace for rig in rigs for namespace in (rig.spec.work_namespace, *rig.spec.allowed_namespaces)
    )


def mirror_actions(observed: Observed) -> tuple[Action, ...]:
    """The writes that make the copies what they are to be: one for each namespace at most, and none to a Secret that is not ours.

    A source that cannot be read leaves the copies as they are: what they hold may still be good. Without a source there are none.
    """
    copies = {other.metadata.namespace: other for other in observed.others if other.is_mirror}
    wanted = _wanted(observed.source) if observed.source is not None else None
    unwanted = [
        _delete(observed, copy)
        for namespace, copy in copies.items()
        if observed.source is None
        or namespace not in observed.namespaces
        or (wanted is not None and copy.type != wanted.type)  # the type of a Secret cannot be changed
    ]
    if wanted is None:
        return tuple(unwanted)
    taken = {other.metadata.namespace for other in observed.others} - copies.keys()
    outdated = [
        _apply(observed, wanted, namespace, copies.get(namespace))
        for namespace in sorted(observed.namespaces - taken)
        if namespace not in copies
        or (copies[namespace].type == wanted.type and copies[namespace].digest != digest_of(wanted.data))
    ]
    return (*unwanted, *outdated)


def strangers(observed: Observed) -> tuple[Secret, ...]:
    """Secrets that somebody else put where copies should be; polecats there use them."""
    return tuple(
        other
        for other in observed.others
        if not other.is_mirror and other.metadata.namespace in observed.namespaces
    )


@frozen
class _Wanted:
    type: str
    data: Mapping[str, str] = field(repr=False)


def _wanted(source: Secret) -> _Wanted | None:
    """Type and data of the copies: of OAuth tokens the access token alone. None where the source cannot be read."""
    try:
        oauth = find_oauth(source)
    except MalformedCredentialError:
        return None
    return _Wanted(source.type, source.data) if oauth is None else _Wanted(OPAQUE, _shown(oauth))


def _shown(oauth: OAuth) -> Mapping[str, str]:
    values = {"access-token": oauth.access_token}
    if oauth.expires_at is not None:
        values["expires-at"] = format_time(oauth.expires_at)
    return {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}


def _apply(observed: Observed, wanted: _Wanted, namespace: str, copy: Secret | None) -> Apply:
    metadata: dict[str, Any] = {
        "labels": {
            labels.NAME: labels.OPERATOR,
            labels.COMPONENT: COMPONENT,
            labels.MANAGED_BY: labels.OPERATOR,
        },
        "annotations": {SOURCE: str(observed.key)},
    }
    if copy is not None:
        metadata["uid"] = copy.metadata.uid
    body = {"metadata": metadata, "type": wanted.type, "data": dict(wanted.data)}
    # Where there was none a moment ago, somebody may have put one since: what differs in it must not be overwritten.
    return Apply(observed.resource, ObjectKey(namespace, observed.key.name), body, force=copy is not None)


def _delete(observed: Observed, copy: Secret) -> Delete:
    return Delete(observed.resource, copy.metadata.key, copy.metadata.uid)
