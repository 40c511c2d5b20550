"""What becomes of writes when answers are lost, late, or not what they seem (pitfalls 6, 7, 13, 23)."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import define, field
from prometheus_client import CollectorRegistry

from gastown_operator.runtime.client import Client, RetryPolicy
from gastown_operator.runtime.configuration import Connection
from gastown_operator.runtime.errors import (
    ApiError,
    BadRequest,
    ConfigurationError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    NotFound,
    RequestTimeout,
    ServerTimeout,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnexpectedResponse,
    UnknownField,
)
from gastown_operator.runtime.execution import Executor, NotOurs
from gastown_operator.runtime.helpers import add_finalizer, controller_reference
from gastown_operator.runtime.metrics import Metrics
from gastown_operator.runtime.objects import ObjectKey, ObjectMeta, PartialObject, Resource
from gastown_operator.runtime.plan import Apply, Create, Delete, EventNote, MergePatch, Plan, Regarding
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.runtime.transport import Transport
from tests.faults.conftest import CONFIG_MAP
from tests.faults.scripted_server import (
    Answer,
    Raw,
    ScriptedServer,
    commit_then_cut,
    cut,
    refuse,
    say,
    stall,
)

pytestmark = pytest.mark.anyio
PATH = "/api/v1/namespaces/ns/configmaps"
KEY = ObjectKey("ns", "child")
OWNER = PartialObject(ObjectMeta("owner", "ns", "uid-owner"))


@define
class Journal:
    """Takes what an executor reports: events, and versions for the gate."""

    notes: list[EventNote] = field(factory=list)
    versions: list[tuple[ObjectKey, int]] = field(factory=list)

    def event(self, regarding: Regarding, note: EventNote) -> None:
        assert regarding.uid == OWNER.metadata.uid
        self.notes.append(note)

    def record(self, key: ObjectKey, resource: Resource[Any], namespace: str, resource_version: int) -> None:
        assert (resource, namespace) == (CONFIG_MAP, KEY.namespace)
        self.versions.append((key, resource_version))


@define
class Writer:
    server: ScriptedServer
    transport: Transport
    client: Client
    executor: Executor
    journal: Journal
    registry: CollectorRegistry

    async def execute(self, plan: Plan, target: PartialObject = OWNER) -> Any:
        return await self.executor.execute(CONFIG_MAP, target, plan)


@pytest.fixture
async def writer(server: ScriptedServer) -> AsyncIterator[Writer]:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    timeouts = {"GET": 1.0, "POST": 1.0, "PATCH": 1.0, "DELETE": 1.0}
    transport = Transport(Connection(server.url), metrics, "tests", timeouts=timeouts)
    client = Client(transport, VirtualClock(), RetryPolicy(attempts=1))
    journal = Journal()
    executor = Executor(client, journal, "tests-c", journal, metrics.writes("c"))
    yield Writer(server, transport, client, executor, journal, registry)
    await transport.close()


def child(owner: str = "uid-owner", name: str = "child") -> Raw:
    reference = controller_reference(CONFIG_MAP, ObjectMeta("owner", "ns", owner))
    return {"metadata": {"name": name, "namespace": "ns", "ownerReferences": [reference]}}


async def test_a_plan_is_done_in_order_and_the_gate_hears_of_every_write(writer: Writer) -> None:
    writer.server.put(f"{PATH}/owner", {"metadata": {"name": "owner", "namespace": "ns", "uid": "uid-owner"}})
    writer.server.objects[f"{PATH}/owner"]["metadata"]["uid"] = "uid-owner"
    writer.server.put(f"{PATH}/old", {"metadata": {"name": "old", "namespace": "ns"}})
    plan = Plan(
        actions=(
            Create(CONFIG_MAP, child()),
            Apply(CONFIG_MAP, KEY, {"data": {"a": "b"}}),
            MergePatch(CONFIG_MAP, KEY, {"data": {"c": "d"}}),
            Delete(CONFIG_MAP, ObjectKey("ns", "old"), "uid-1", grace_period_seconds=5),
        ),
        status={"phase": "Working"},
        events=(EventNote("Normal", "Made", "made it"),),
        requeue_after=3.0,
    )
    read = PartialObject(ObjectMeta("owner", "ns", "uid-owner", resource_version=101))
    execution = await writer.execute(plan, read)
    assert execution.refusal is None
    assert execution.requeue_after == 3.0
    assert execution.versions == {CONFIG_MAP: 106}
    sent = [(request.verb, request.path) for request in writer.server.requests]
    assert sent == [
        ("POST", PATH),
        ("PATCH", f"{PATH}/child"),
        ("PATCH", f"{PATH}/child"),
        ("DELETE", f"{PATH}/old"),
        ("PATCH", f"{PATH}/owner/status"),
    ]
    kinds = [request.headers.get("Content-Type") for request in writer.server.sent(verb="PATCH")]
    assert kinds == [
        "application/apply-patch+yaml",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    ]
    assert all(request.query["fieldManager"] == "tests-c" for request in writer.server.sent(verb="PATCH"))
    deletion = writer.server.sent(verb="DELETE")[0].body
    assert deletion["preconditions"] == {"uid": "uid-1"}
    assert deletion["gracePeriodSeconds"] == 5
    assert writer.server.requests[-1].body["metadata"]["uid"] == "uid-owner"
    assert [version for _, version in writer.journal.versions] == [103, 104, 105, 106, 107]
    assert {key for key, _ in writer.journal.versions} == {OWNER.metadata.key}
    assert [note.reason for note in writer.journal.notes] == ["Made"]


@pytest.mark.parametrize("lost", ["commit, then cut", "commit, then time out"])
async def test_a_creation_whose_answer_was_lost_is_found_and_not_repeated(writer: Writer, lost: str) -> None:
    """Pitfall 13."""

    async def commit_then_stall(request: Any) -> Any:
        await writer.server.api(request)
        return await stall(request)

    writer.server.script("POST", commit_then_cut(writer.server) if "cut" in lost else commit_then_stall)
    execution = await writer.execute(Plan((Create(CONFIG_MAP, child()),)))
    assert execution.refusal is None
    assert len(writer.server.sent(verb="POST")) == 1
    assert writer.journal.versions == [(OWNER.metadata.key, 101)]


async def test_a_creation_that_did_not_happen_fails_for_the_queue_to_repeat(writer: Writer) -> None:
    writer.server.script("POST", cut)
    with pytest.raises(ConnectionFailed):
        await writer.execute(Plan((Create(CONFIG_MAP, child()),), status={"phase": "Working"}))
    assert writer.server.objects == {}
    assert writer.server.sent(verb="PATCH") == []


async def test_creating_what_exists_and_is_ours_is_success(writer: Writer) -> None:
    writer.server.put(f"{PATH}/child", child())
    execution = await writer.execute(Plan((Create(CONFIG_MAP, child()),)))
    assert execution.refusal is None
    assert writer.journal.versions == [(OWNER.metadata.key, 101)]


@pytest.mark.parametrize(
    "found",
    [child("uid-other"), {"metadata": {"name": "child", "namespace": "ns"}}],
    ids=["other", "nobody's"],
)
async def test_what_is_not_ours_is_neither_adopted_nor_followed_by_further_writes(
    writer: Writer, found: Raw
) -> None:
    writer.server.put(f"{PATH}/child", found)
    action = Create(CONFIG_MAP, child())
    plan = Plan(
        (action, Apply(CONFIG_MAP, KEY, {})), status={"x": 1}, events=(EventNote("Normal", "A", "b"),)
    )
    execution = await writer.execute(plan)
    assert execution.refusal is not None
    assert execution.refusal.action is action
    assert isinstance(execution.refusal.error, NotOurs)
    assert "ConfigMap ns/child exists and is controlled by" in str(execution.refusal.error)
    assert writer.server.sent(verb="PATCH") == []
    assert writer.journal.notes == []


@pytest.mark.parametrize(
    ("code", "reason", "kind"), [(403, "Forbidden", Forbidden), (422, "Invalid", Invalid)]
)
async def test_a_refusal_is_data_for_the_next_plan(
    writer: Writer, code: int, reason: str, kind: type[ApiError]
) -> None:
    writer.server.script("POST", refuse(code, reason, "exceeded quota"))
    execution = await writer.execute(Plan((Create(CONFIG_MAP, child()),)))
    assert isinstance(execution.refusal.error, kind)


async def test_a_status_follows_the_plans_own_change_of_its_object(writer: Writer) -> None:
    """A finalizer and a status in one plan are two writes of ours, and no conflict."""
    stored = writer.server.put(f"{PATH}/owner", {"metadata": {"name": "owner", "namespace": "ns"}})
    read = PartialObject.project(stored)
    plan = Plan((add_finalizer(CONFIG_MAP, read.metadata, "tests/x"),), status={"phase": "Working"})
    await writer.execute(plan, read)
    assert writer.server.objects[f"{PATH}/owner"]["status"] == {"phase": "Working"}
    with pytest.raises(Conflict):
        await writer.execute(Plan(status={"phase": "Idle"}), read)


@pytest.mark.parametrize("answer", [refuse(404, "NotFound"), refuse(409, "Conflict")])
async def test_deleting_what_is_gone_or_was_replaced_is_success(writer: Writer, answer: Answer) -> None:
    writer.server.script("DELETE", answer)
    execution = await writer.execute(Plan((Delete(CONFIG_MAP, KEY, "uid-9"),)))
    assert execution.refusal is None


async def test_deleting_leaves_the_successor_of_the_same_name_alone(writer: Writer) -> None:
    """Pitfall 23: it was recreated after we had read it."""
    read = writer.server.put(f"{PATH}/child", child())
    writer.server.drop(f"{PATH}/child")
    writer.server.put(f"{PATH}/child", child())
    execution = await writer.execute(Plan((Delete(CONFIG_MAP, KEY, read["metadata"]["uid"]),)))
    assert execution.refusal is None
    assert f"{PATH}/child" in writer.server.objects


async def test_the_status_of_a_predecessor_is_not_written_to_its_successor(writer: Writer) -> None:
    """Pitfall 23."""
    writer.server.put(f"{PATH}/owner", {"metadata": {"name": "owner", "namespace": "ns"}})
    with pytest.raises(Conflict):
        await writer.execute(Plan(status={"phase": "Done"}))
    assert "status" not in writer.server.objects[f"{PATH}/owner"]


async def test_the_status_of_a_vanished_object_is_nobodys_failure(writer: Writer) -> None:
    await writer.execute(Plan(status={"phase": "Working"}))
    sample = writer.registry.get_sample_value
    assert sample("status_writes_issued_total", {"controller": "c"}) == 0
    await writer.execute(Plan())
    assert sample("status_writes_elided_total", {"controller": "c"}) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refuse(400, "BadRequest"), BadRequest),
        (refuse(401, "Unauthorized"), Unauthorized),
        (refuse(403, "Forbidden"), Forbidden),
        (refuse(404, "NotFound"), NotFound),
        (refuse(409, "Conflict"), Conflict),
        (refuse(410, "Expired"), Gone),
        (refuse(422, "Invalid"), Invalid),
        (refuse(429, "TooManyRequests", retry_after="3"), TooManyRequests),
        (refuse(500, "InternalError"), InternalError),
        (refuse(500, "ServerTimeout"), ServerTimeout),
        (refuse(500, "", ".status.dayBudget: field not declared in schema"), UnknownField),
        (refuse(503, "ServiceUnavailable"), ServiceUnavailable),
        (refuse(418, "Teapot"), ApiError),
        (say("Too many requests", 429), TooManyRequests),
        (say("<html>bad gateway</html>", 502, "text/html"), ServiceUnavailable),
        (say("", 503), ServiceUnavailable),
        (say("moved", 302, Location="http://elsewhere"), UnexpectedResponse),
        (say("<html>log in</html>", 200, "text/html"), UnexpectedResponse),
        (say("", 200), UnexpectedResponse),
        (say("[]", 200), UnexpectedResponse),
        (cut, ConnectionFailed),
        (stall, RequestTimeout),
    ],
)
async def test_every_failure_has_its_type(writer: Writer, answer: Answer, kind: type[ApiError]) -> None:
    """Pitfall 6 for requests."""
    writer.server.script("POST", answer)
    with pytest.raises(ApiError) as caught:
        await writer.client.create(CONFIG_MAP, child(), "tests")
    assert type(caught.value) is kind
    assert f"POST {PATH}" in str(caught.value)


async def test_a_field_that_the_definition_lacks_is_written_once_with_what_to_do(writer: Writer) -> None:
    """A kind's definition is updated by somebody; until then each call is refused in the same way."""
    text = "failed to create typed patch object (ns/child): .status.new: field not declared in schema"
    writer.server.script("PATCH", *(3 * [refuse(500, "", text)]))
    with pytest.raises(UnknownField, match="apply that of its version") as caught:
        await writer.client.apply(CONFIG_MAP, KEY, child(), "tests")
    assert caught.value.retryable
    assert [request.verb for request in writer.server.requests] == ["PATCH"]


async def test_a_list_of_something_else_is_no_list(writer: Writer) -> None:
    answers = [say("{}"), say('{"metadata":{},"items":{}}'), say('{"metadata":{"resourceVersion":"x"}}')]
    writer.server.script("GET", *answers)
    for _ in answers:
        with pytest.raises(UnexpectedResponse):
            await writer.client.list_page(CONFIG_MAP)


async def test_a_server_that_nobody_answers_for_is_a_connection_failure() -> None:
    transport = Transport(Connection("http://127.0.0.1:9"), Metrics(CollectorRegistry()), "tests")
    with pytest.raises(ConnectionFailed, match="Connect call failed"):
        await transport.request("GET", "/version")
    await transport.close()


@pytest.mark.parametrize(
    ("call", "attempts"),
    [
        ("get", 3),
        ("apply", 3),
        ("delete with uid", 3),
        ("delete by name", 1),
        ("create", 1),
        ("merge patch", 1),
    ],
)
async def test_only_calls_that_are_safe_to_repeat_are_repeated(
    server: ScriptedServer, call: str, attempts: int
) -> None:
    transport = Transport(Connection(server.url), Metrics(CollectorRegistry()), "tests")
    client = Client(transport, VirtualClock(), RetryPolicy(attempts=3, base=0.0))
    calls = {
        "get": lambda: client.get(CONFIG_MAP, KEY),
        "apply": lambda: client.apply(CONFIG_MAP, KEY, {}, "tests"),
        "delete with uid": lambda: client.delete(CONFIG_MAP, KEY, uid="u"),
        "delete by name": lambda: client.delete(CONFIG_MAP, KEY, resource_version=4),
        "create": lambda: client.create(CONFIG_MAP, child(), "tests"),
        "merge patch": lambda: client.merge_patch(CONFIG_MAP, KEY, {}, "tests"),
    }
    for verb in ("GET", "PATCH", "DELETE", "POST"):
        server.script(verb, *[say("no", 503)] * 9)
    with pytest.raises(ServiceUnavailable):
        await calls[call]()
    assert len(server.requests) == attempts
    await transport.close()


async def test_repeating_ends_with_its_time_and_never_for_what_cannot_heal(server: ScriptedServer) -> None:
    transport = Transport(Connection(server.url), Metrics(CollectorRegistry()), "tests")
    client = Client(transport, VirtualClock(), RetryPolicy(attempts=9, seconds=20))
    server.script("GET", refuse(429, "TooManyRequests", retry_after="30"), refuse(403, "Forbidden"))
    with pytest.raises(TooManyRequests):
        await client.get(CONFIG_MAP, KEY)
    with pytest.raises(Forbidden):
        await client.get(CONFIG_MAP, KEY)
    assert len(server.requests) == 2
    await transport.close()


@define
class Token:
    """Credentials that are missing until they are there."""

    value: str = ""
    rotated: str = ""

    async def authorization(self) -> str:
        if not self.value:
            raise ConfigurationError("no token in /somewhere")
        return f"Bearer {self.value}"

    async def replaced(self, refused: str) -> bool:
        self.value = self.rotated or self.value
        return f"Bearer {self.value}" != refused


async def test_a_token_that_was_rotated_is_found_out_by_the_first_refusal(server: ScriptedServer) -> None:
    """Nothing was done by a call that was not authenticated, so even a creation may be sent again."""
    token = Token("old", "new")
    transport = Transport(Connection(server.url, credentials=token), Metrics(CollectorRegistry()), "tests")
    client = Client(transport)
    server.script("POST", refuse(401, "Unauthorized"))
    await client.create(CONFIG_MAP, {"metadata": {"name": "x", "namespace": "ns"}}, "tests")
    shown = [request.headers["Authorization"] for request in server.requests]
    assert shown == ["Bearer old", "Bearer new"]
    server.script("POST", refuse(401, "Unauthorized"))
    with pytest.raises(Unauthorized):
        await client.create(CONFIG_MAP, {"metadata": {"name": "y", "namespace": "ns"}}, "tests")
    assert len(server.requests) == 3
    await transport.close()


async def test_a_missing_token_is_no_reason_to_die(server: ScriptedServer) -> None:
    token = Token()
    transport = Transport(Connection(server.url, credentials=token), Metrics(CollectorRegistry()), "tests")
    with pytest.raises(Unauthorized, match="no token in /somewhere"):
        await transport.request("GET", "/version")
    token.value = "abc"
    await transport.request("GET", PATH)
    assert server.requests[0].headers["Authorization"] == "Bearer abc"
    await transport.close()


async def test_says_who_it_is_and_asks_for_json(writer: Writer) -> None:
    writer.server.script("GET", say('{"metadata":{"name":"child"}}'))
    assert await writer.client.get(CONFIG_MAP, KEY) == {"metadata": {"name": "child"}}
    headers = writer.server.requests[0].headers
    assert headers["User-Agent"] == "tests"
    assert headers["Accept"] == "application/json"
    assert "Authorization" not in headers


async def test_a_dead_peer_is_found_by_the_kernel(server: ScriptedServer) -> None:
    """Pitfall 4: within 15 + 3 * 5 seconds where we only listen, and after 30 where what we sent is not acknowledged."""
    transport = Transport(Connection(server.url), Metrics(CollectorRegistry()), "tests")
    async with transport.stream(PATH, {"watch": "1", "resourceVersion": "100"}, deadline=60.0):
        assert transport._session is not None
        (connection,) = transport._session.connector._acquired  # type: ignore[union-attr]
        sock = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
        options = {
            name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert options == {
            "TCP_KEEPIDLE": 15,
            "TCP_KEEPINTVL": 5,
            "TCP_KEEPCNT": 3,
            "TCP_USER_TIMEOUT": 30_000,
        }
    await transport.close()
