"""Which copies of credentials there are to be, when tokens are refreshed, and what a rig is told: all pure."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gastown_operator.api import labels
from gastown_operator.controllers.credential.endpoint import TokenEndpoint
from gastown_operator.controllers.credential.mirror import (
    Observed,
    credential_names,
    mirror_actions,
    strangers,
    work_namespaces,
)
from gastown_operator.controllers.credential.oauth import (
    MalformedCredentialError,
    OAuth,
    Tokens,
    find_oauth,
)
from gastown_operator.controllers.credential.problem import Credentials
from gastown_operator.controllers.credential.secret import SOURCE, Secret, secret_resource
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.credential.state import (
    LEAD,
    LIFETIME,
    MESSAGE,
    REFUSED,
    STATE,
    State,
    judgement,
    refresh_time,
)
from gastown_operator.runtime.errors import NotLeader
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.plan import Apply, Delete
from gastown_operator.runtime.store import Store
from hack.token_server.server import CLIENT_ID, TokenServer
from tests.unit.controllers.objects import NOW, WORKERS, rig

KEY = ObjectKey("gastown-system", "claude-credentials")
RESOURCE = secret_resource(KEY)
OURS = {labels.MANAGED_BY: labels.OPERATOR, labels.COMPONENT: "credential"}


def encoded(**values: str) -> dict[str, str]:
    return {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}


def login(expires: datetime | None = NOW, **changes: Any) -> dict[str, str]:
    """The data of a Secret that holds what Claude Code has after a login."""
    inner = {"accessToken": "access", "refreshToken": "refresh", "scopes": ["user:inference"], **changes}
    if expires is not None:
        inner["expiresAt"] = int(expires.timestamp() * 1000)
    return {".credentials.json": encoded(file=json.dumps({"claudeAiOauth": inner, "other": 1}))["file"]}


def secret(
    data: Mapping[str, str], namespace: str = KEY.namespace, kind: str = "Opaque", **annotations: str
) -> Secret:
    """The operator's own Secret, or one of the same name elsewhere."""
    metadata = {
        "name": KEY.name,
        "namespace": namespace,
        "uid": f"uid-{namespace}",
        "resourceVersion": "7",
        "annotations": {name.replace("_", "/"): text for name, text in annotations.items()},
    }
    return RESOURCE.project({"metadata": metadata, "type": kind, "data": dict(data)})


def copy(data: Mapping[str, str], namespace: str = WORKERS, kind: str = "Opaque") -> Secret:
    """A Secret that the operator made."""
    metadata = {"name": KEY.name, "namespace": namespace, "uid": "copy", "labels": OURS}
    return RESOURCE.project(
        {"metadata": {**metadata, "annotations": {SOURCE: str(KEY)}}, "type": kind, "data": dict(data)}
    )


def annotated(data: Mapping[str, str], annotations: Mapping[str, str]) -> Secret:
    metadata = {"name": KEY.name, "namespace": KEY.namespace, "annotations": dict(annotations)}
    return RESOURCE.project({"metadata": metadata, "data": dict(data)})


def oauth_of(source: Secret) -> OAuth:
    found = find_oauth(source)
    assert found is not None
    return found


def actions(source: Secret | None, *others: Secret, wanted: tuple[str, ...] = (WORKERS,)) -> list[str]:
    """What is done, and where."""
    observed = Observed(RESOURCE, KEY, source, others, frozenset(wanted))
    found = mirror_actions(observed)
    assert all(isinstance(each, Apply | Delete) for each in found)
    return [f"{type(each).__name__} {each.key.namespace}" for each in found]


def test_a_key_is_copied_as_it_is_and_only_its_copies_are_changed() -> None:
    key = encoded(key="secret")
    assert actions(secret(key)) == [f"Apply {WORKERS}"]
    assert actions(secret(key), copy(key)) == []
    assert actions(secret(key), copy(encoded(key="old"))) == [f"Apply {WORKERS}"]
    assert actions(secret(key), secret(encoded(key="mine"), WORKERS)) == []


def test_copies_go_when_nobody_names_them_or_the_source_is_gone_and_strangers_stay() -> None:
    key = encoded(key="secret")
    assert actions(secret(key), copy(key), wanted=()) == [f"Delete {WORKERS}"]
    assert actions(None, copy(key), secret(key, "elsewhere")) == [f"Delete {WORKERS}"]


def test_the_type_of_a_copy_cannot_be_changed_so_it_is_made_anew() -> None:
    key = encoded(username="u")
    assert actions(secret(key, kind="kubernetes.io/basic-auth"), copy(key)) == [f"Delete {WORKERS}"]


def test_of_oauth_tokens_the_access_token_alone_is_copied() -> None:
    observed = Observed(RESOURCE, KEY, secret({**login(), **encoded(other="x")}), (), frozenset({WORKERS}))
    (action,) = mirror_actions(observed)
    assert isinstance(action, Apply)
    assert action.body["data"] == encoded(**{"access-token": "access", "expires-at": "2026-11-24T12:00:00Z"})
    assert action.force is False
    assert "refresh" not in repr(action)


def test_somebodys_own_secret_in_the_place_of_a_copy_is_noticed() -> None:
    own = secret(encoded(key="mine"), WORKERS)
    observed = Observed(RESOURCE, KEY, secret(encoded(key="secret")), (own,), frozenset({WORKERS}))
    assert strangers(observed) == (own,)
    assert own.data == {}, "of a stranger's Secret nothing is kept"


def test_a_copy_that_somebody_forged_for_another_source_is_not_ours() -> None:
    metadata = {"name": KEY.name, "namespace": WORKERS, "labels": OURS, "annotations": {SOURCE: "other/name"}}
    assert not RESOURCE.project({"metadata": metadata}).is_mirror


def test_a_rig_names_secrets_for_its_repository_and_its_providers() -> None:
    subject = rig(
        allowedNamespaces=["team-a"],
        providers=[
            {"name": "litellm", "endpoint": "http://l", "secretRef": {"name": "litellm-key", "key": "k"}},
            {"name": "ollama", "endpoint": "http://o"},
        ],
    )
    assert credential_names(subject) == {"git-credentials", "claude-credentials", "litellm-key"}
    assert work_namespaces([subject]) == {WORKERS, "team-a"}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"claudeAiOauth": []}',
        '{"claudeAiOauth": {"accessToken": ""}}',
        '{"claudeAiOauth": {"accessToken": "a\\nX-Header: b"}}',
        '{"claudeAiOauth": {"accessToken": "a", "refreshToken": 7}}',
        '{"claudeAiOauth": {"accessToken": "a", "expiresAt": "soon"}}',
        '{"claudeAiOauth": {"accessToken": "a", "expiresAt": true}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_is_not_claudes_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(MalformedCredentialError) as refused:
        find_oauth(secret({"credentials.json": encoded(file=text)["file"]}))
    assert "X-Header" not in str(refused.value)


def test_a_secret_without_the_file_has_no_tokens() -> None:
    assert find_oauth(secret(encoded(key="secret"))) is None


@pytest.mark.parametrize(
    ("lifetime", "lead"),
    [("", LEAD), ("28800", LEAD), ("600", timedelta(minutes=5)), ("10", timedelta(seconds=5)), ("x", LEAD)],
)
def test_a_token_is_refreshed_ten_minutes_before_its_end_or_at_half_of_its_life(
    lifetime: str, lead: timedelta
) -> None:
    source = annotated(login(NOW), {LIFETIME: lifetime})
    assert refresh_time(source, oauth_of(source)) == NOW - lead


def test_what_cannot_be_refreshed_is_not() -> None:
    alone = secret(login(refreshToken=None))
    assert refresh_time(alone, oauth_of(alone)) is None
    source = secret(login())
    refused = annotated(login(), {REFUSED: oauth_of(source).fingerprint})
    assert refresh_time(refused, oauth_of(refused)) is None
    unknown = secret(login(None))
    due = refresh_time(unknown, oauth_of(unknown))
    assert due is not None
    assert due < NOW


@pytest.mark.parametrize(
    ("left", "failure", "state"),
    [
        (60, "", State.READY),
        (60, "HTTP 500", State.FAILING),
        (-1, "HTTP 500", State.EXPIRED),
        (-1, "", State.EXPIRED),
    ],
)
def test_how_a_credential_stands(left: float, failure: str, state: State) -> None:
    source = secret(login(NOW + timedelta(seconds=left)))
    assert judgement(source, oauth_of(source), NOW, failure).state is state


def test_rotated_tokens_take_the_place_of_the_old_ones_and_the_rest_of_the_file_stays() -> None:
    rotated = oauth_of(secret(login())).rotated(Tokens("new", "next", timedelta(hours=8)), NOW)
    document = json.loads(base64.b64decode(rotated[".credentials.json"]))
    assert document["other"] == 1
    assert document["claudeAiOauth"] == {
        "accessToken": "new",
        "refreshToken": "next",
        "scopes": ["user:inference"],
        "expiresAt": int((NOW + timedelta(hours=8)).timestamp() * 1000),
    }
    kept = oauth_of(secret(rotated)).rotated(Tokens("newer", "", timedelta(hours=8)), NOW)
    assert oauth_of(secret(kept)).refresh_token == "next"


def test_tokens_are_not_shown_by_what_holds_them() -> None:
    source = secret(login())
    shown = repr((source, oauth_of(source), Tokens("access", "refresh", timedelta(1))))
    assert "access'" not in shown
    assert source.data[".credentials.json"] not in shown


async def credentials(*secrets: Secret) -> Credentials:
    store = Store(RESOURCE)
    table = store.partition().scratch()
    for each in secrets:
        table.put(each)
    await store.partition().replace(table, 10)
    return Credentials(CredentialSettings(names=(KEY.name,), namespace=KEY.namespace), {KEY.name: store})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("state", "reason"), [("Expired", "CredentialExpired"), ("Malformed", "CredentialInvalid")]
)
async def test_a_rig_is_held_by_a_credential_that_nobody_can_use(state: str, reason: str) -> None:
    found = await credentials(annotated(login(), {STATE: state, MESSAGE: "it is no good"}))
    problem = found.problem(rig())
    assert problem is not None
    assert (problem.reason, problem.holds, problem.secret) == (reason, True, KEY.name)
    assert "it is no good" in problem.message
    assert "kubectl -n gastown-system create secret generic claude-credentials" in problem.message
    other = {"providerSecretRef": {"name": "other"}}
    assert found.problem(rig(defaults=other)) is None


@pytest.mark.anyio
async def test_a_secret_in_the_place_of_a_copy_is_told_and_holds_nothing() -> None:
    found = await credentials(secret(encoded(key="a")), secret(encoded(key="b"), WORKERS))
    problem = found.problem(rig())
    assert problem is not None
    assert (problem.reason, problem.holds) == ("CredentialNameTaken", False)
    assert (await credentials(secret(encoded(key="a")))).problem(rig()) is None


@pytest.mark.anyio
async def test_a_process_that_does_not_lead_sends_no_token() -> None:
    with TokenServer(60) as server:
        endpoint = TokenEndpoint(lambda: False, "tests")
        with pytest.raises(NotLeader):
            await endpoint.refresh(server.url, CLIENT_ID, "refresh")
        assert server.calls == 0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_times_are_in_utc() -> None:
    assert oauth_of(secret(login(datetime(2026, 1, 1, tzinfo=UTC)))).expires_at == datetime(
        2026, 1, 1, tzinfo=UTC
    )
