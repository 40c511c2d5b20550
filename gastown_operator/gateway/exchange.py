"""One request of the agent, from its first byte to the last of its answer."""

import asyncio
from collections.abc import Awaitable
from enum import Enum
from typing import Final

import aiohttp
from aiohttp import web
from attrs import define, evolve, field

from gastown_operator.gateway import bodies, failures, headers, retry
from gastown_operator.gateway.account import Account
from gastown_operator.gateway.bodies import Prepared
from gastown_operator.gateway.credentials import Credential
from gastown_operator.gateway.dialects.answer import Reader
from gastown_operator.gateway.failures import Failure
from gastown_operator.gateway.routes import Kind, Route
from gastown_operator.gateway.services import Services
from gastown_operator.gateway.upstream import Call, FailedError, Opened

#: A request that is answered sooner need not be measured at all.
_SECONDS_UNTIL_RESERVED: Final = 0.05
#: For the provider's accounts after the model's last word, and for the end of the stream after its proper end.
_SECONDS_FOR_ACCOUNTS: Final = 10.0
_SECONDS_FOR_LAST_WORD: Final = 1.0


class Interrupt(Enum):
    """Why an exchange is broken off from outside; the values are for logs and metrics."""

    AGENT_LEFT = "agent-left"
    BUDGET = "budget"
    END = "end"


class _AgentLeftError(Exception):
    """The agent has closed its connection, or does not read any more."""


@define(eq=False)
class Exchange:
    """Sends one request on and passes its answer back.

    Runs in a task of its own, which outlives the agent's connection: the accounts may come after the agent has left.
    """

    services: Services
    request: web.Request
    route: Route
    _interrupted: Interrupt | None = field(init=False, default=None)
    _task: "asyncio.Task[web.StreamResponse] | None" = field(init=False, default=None)
    _account: Account = field(init=False)
    _prepared: Prepared = field(init=False, factory=lambda: Prepared(None))
    _agent_left: bool = field(init=False, default=False)
    _writing: bool = field(init=False, default=False)
    _started: float = field(init=False, default=0.0)
    _response: web.StreamResponse | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._account = Account(self.services, self._work)

    async def run(self) -> web.StreamResponse:
        """Answer the request."""
        self._task = asyncio.current_task()
        self._started = self.services.clock()
        try:
            return await self._answer()
        except FailedError as error:
            return self._refuse(error.failure)
        except asyncio.CancelledError:
            if self._interrupted is None:
                raise
            if self._task is not None:
                self._task.uncancel()
            return await self._broken_off(self._interrupted)
        finally:
            await self._account.settle()

    def interrupt(self, why: Interrupt) -> None:
        """Break off, unless only the accounts are missing: those are worth a moment."""
        if (
            self._account.settled or self._task is asyncio.current_task()
        ):  # it sees for itself that the budget is used up
            return
        finished = self._account.reader is not None and self._account.reader.answer.finished
        if why is Interrupt.AGENT_LEFT and finished:
            self._agent_left = True
        elif (
            self._task is not None
            and self._interrupted is None
            and not (finished and why is Interrupt.BUDGET)
        ):
            self._interrupted = why
            self._task.cancel()

    @property
    def _work(self) -> bool:
        return self.route.kind is Kind.WORK

    async def _answer(self) -> web.StreamResponse:
        if (refusal := self.services.refusal()) is not None:
            raise FailedError(refusal)
        async with self.services.memory.taken(bodies.declared_size(self.request)):
            opened = await self._open()
        async with opened.response:
            return await self._pass_on(opened)

    async def _open(self) -> Opened:
        services = self.services
        content = await bodies.read(self.request)
        self._prepared = prepared = bodies.prepare(self.route, content, services.settings.model)
        credential = services.credential()
        self._account.begin(prepared)
        reserving = asyncio.get_running_loop().call_later(_SECONDS_UNTIL_RESERVED, self._account.reserve)
        try:
            opened = await self._tries(prepared, credential)
        finally:
            reserving.cancel()
        if self._work and opened.reader is not None:
            services.metrics.first_byte.observe(services.clock() - self._started)
        self._account.answered(opened.reader)
        self._prepared = evolve(prepared, content=None)  # it would be held for as long as the answer takes
        return opened

    async def _tries(self, prepared: Prepared, credential: Credential | None) -> Opened:
        tries = 0
        while True:
            tries += 1
            self._account.sending()
            try:
                return await self.services.upstream.open(self._call(prepared, credential))
            except FailedError as error:
                failure = error.failure
                if credential is None:
                    failure = failures.without_credential(failure)
                self._account.failed(failure)
                wait = await self._wait(failure, tries, credential)
                if wait is None:
                    raise FailedError(failure) from error
                reason, status = failure.reason, failure.status
                self.services.journal("trying again", reason=reason, status=status, seconds=wait)
            await self.services.sleep(wait)
            credential = self.services.credential()

    async def _wait(self, failure: Failure, tries: int, credential: Credential | None) -> float | None:
        if failure.status == 401 and tries == 1 and self.services.credential() != credential:
            return 0.0  # it was rotated meanwhile
        return None if self.services.breaker.tripped() else retry.wait_before(failure, tries)

    def _call(self, prepared: Prepared, credential: Credential | None) -> Call:
        request, provider = self.request, self.services.settings.provider
        sent = headers.to_provider(request.headers, provider, credential)
        return Call(self.route, request.rel_url.raw_query_string, sent, prepared.content, prepared.streamed)

    async def _pass_on(self, opened: Opened) -> web.StreamResponse:
        passed = headers.to_agent(opened.response.headers, self.services.redactor)
        self._response = response = web.StreamResponse(status=opened.response.status, headers=passed)
        try:
            await self._to_agent(response.prepare(self.request))
            failure = await self._stream(opened, response)
        except _AgentLeftError:
            return await self._broken_off(Interrupt.AGENT_LEFT)
        if failure is None:
            return self._finished(opened, response)
        self._note(failure)
        await self._break(response, "api_error", failure.said)
        return response

    async def _stream(self, opened: Opened, response: web.StreamResponse) -> Failure | None:
        loop, idle = asyncio.get_running_loop(), self.services.settings.idle_timeout
        progress = -1
        try:
            async with asyncio.timeout(idle) as timer:
                async for chunk in opened.chunks():
                    self.services.traffic()
                    reader = self._account.reader
                    if reader is None:
                        timer.reschedule(loop.time() + idle)
                    elif reader.answer.finished:
                        timer.reschedule(loop.time() + _SECONDS_FOR_ACCOUNTS)
                    elif reader.answer.progress != progress:
                        progress = reader.answer.progress
                        timer.reschedule(loop.time() + idle)
                    if (failure := self._failure(reader)) is not None:
                        return failure
                    await self._write(response, chunk)
        except TimeoutError:
            if self._writing:
                raise _AgentLeftError from None
            if self._account.reader is None or not self._account.reader.answer.complete:
                return failures.unavailable(
                    "Stalled", f"the provider's answer made no progress for {idle:g} s"
                )
        except (aiohttp.ClientError, OSError) as error:
            words = self.services.redactor.text(str(error))
            return failures.unavailable("BrokenOff", "the provider broke its answer off", words)
        if self._account.reader is not None and not self._account.reader.answer.complete:
            return self._failure(self._account.reader) or failures.unavailable(
                "BrokenOff", "the provider ended its answer before the model had finished"
            )
        return None

    def _failure(self, reader: Reader | None) -> Failure | None:
        if reader is None:
            return None
        self._account.passing(reader)
        if reader.answer.broken is not None:
            return self.services.upstream.broken(reader)
        if self.services.check_budget() and not reader.answer.finished:
            return self.services.spent()
        return None

    async def _write(self, response: web.StreamResponse, chunk: bytes) -> None:
        if self._agent_left:
            return
        try:
            await self._to_agent(response.write(chunk))
        except _AgentLeftError:
            if self._account.reader is None or not self._account.reader.answer.finished:
                raise
            self._agent_left = True

    async def _to_agent(self, write: Awaitable[object]) -> None:
        self._writing = True
        try:
            await write
        except OSError as error:
            raise _AgentLeftError from error
        self._writing = False

    def _finished(self, opened: Opened, response: web.StreamResponse) -> web.StreamResponse:
        status = opened.response.status
        self.services.metrics.requests.labels(str(status)).inc()
        if self._work:
            self.services.breaker.succeeded()
            if not self._prepared.side:
                self.services.ledger.succeeded(status)
        return response

    def _note(self, failure: Failure) -> None:
        services = self.services
        services.metrics.requests.labels(str(failure.status or failure.reason)).inc()
        services.journal(
            "request failed", reason=failure.reason, status=failure.status, cause=failure.message
        )
        if self._work and failure.counts:
            services.breaker.failed(self._started, services.clock())
        if self._work and not self._prepared.side and failure.reason != failures.NOT_TRIED:
            services.ledger.failed(failure)

    def _refuse(self, failure: Failure) -> web.StreamResponse:
        self._note(failure)
        dialect = self.route.dialect
        if retry.ends(failure) or (self._work and failure.counts and self.services.breaker.tripped()):
            body = dialect.error("invalid_request_error", f"gateway: {failure.said}")
            return web.Response(
                status=400, body=body, content_type="application/json", headers={"X-Should-Retry": "false"}
            )
        body = failure.body or dialect.error("api_error", f"gateway: {failure.said}")
        status = failure.status or (504 if failure.reason == "TimedOut" else 502)
        wait = {} if failure.retry_after is None else {"Retry-After": f"{failure.retry_after:.0f}"}
        return web.Response(status=status, body=body, content_type="application/json", headers=wait)

    async def _broken_off(self, why: Interrupt) -> web.StreamResponse:
        self.services.metrics.requests.labels(why.value).inc()
        self.services.journal("request broken off", reason=why.value)
        said = self.services.spent().said if why is Interrupt.BUDGET else "this run is ended"
        if self._response is None:
            body = self.route.dialect.error("invalid_request_error", f"gateway: {said}")
            return web.Response(status=400, body=body, content_type="application/json")
        if why is not Interrupt.AGENT_LEFT:
            await self._break(self._response, "invalid_request_error", said)
        return self._response

    async def _break(self, response: web.StreamResponse, kind: str, said: str) -> None:
        """End the agent's connection so that nobody takes the answer for a whole one."""
        await self._account.settle()
        transport = self.request.transport
        try:
            if self._prepared.streamed and not self._agent_left:
                event = self.route.dialect.stream_error(kind, f"gateway: {said}")
                async with asyncio.timeout(_SECONDS_FOR_LAST_WORD):
                    await response.write(event)
        except TimeoutError:
            if transport is not None:
                transport.abort()
        except OSError:
            return
        if transport is not None:
            transport.close()  # after what is written, and without the last chunk
