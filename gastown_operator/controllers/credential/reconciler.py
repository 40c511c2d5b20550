"""The credential controller: its caches, what wakes it, and one reconcile of a Secret that the operator was given."""

import logging
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Final

from attrs import define, field, frozen
from prometheus_client import Counter

from gastown_operator.api.core import NAMESPACE, Namespace
from gastown_operator.api.rig import RIG, Rig
from gastown_operator.controllers.credential.endpoint import (
    TIMEOUT,
    RefreshFailed,
    RefreshRefused,
    TokenEndpoint,
)
from gastown_operator.controllers.credential.mirror import (
    Observed,
    credential_names,
    mirror_actions,
    strangers,
    work_namespaces,
)
from gastown_operator.controllers.credential.oauth import MalformedCredentialError, OAuth, find_oauth
from gastown_operator.controllers.credential.problem import (
    RIGS_BY_CREDENTIAL,
    Credentials,
    rigs_by_credential,
)
from gastown_operator.controllers.credential.refresh import SAVE_LIMIT, Refresher
from gastown_operator.controllers.credential.secret import Secret, secret_resource
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.credential.state import (
    MESSAGE,
    REFRESHING,
    REFUSED,
    STATE,
    Judgement,
    State,
    judgement,
    refresh_time,
)
from gastown_operator.runtime.clock import Clock
from gastown_operator.runtime.controller import Controller, Result, Watch, generation_changed, mapped
from gastown_operator.runtime.errors import ApiError, Forbidden, Invalid
from gastown_operator.runtime.execution import Executor
from gastown_operator.runtime.manager import Manager
from gastown_operator.runtime.objects import ObjectKey, Resource
from gastown_operator.runtime.plan import EventNote, Plan
from gastown_operator.runtime.store import Event, Store

NAME: Final = "credential"
SAVE_TIMEOUT: Final = 5.0  # seconds for one try to write new tokens
#: How long another process's call may be under way: after it was noted, until what came of it was written or given up.
PATIENCE: Final = TIMEOUT + SAVE_LIMIT + SAVE_TIMEOUT + 5.0
FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 300.0
SAVE_PAUSE: Final = 2.0
REFUSED_PAUSE: Final = 60.0  # seconds until a write that the API server refused is tried again

logger = logging.getLogger(__name__)


@frozen
class Caches:
    """The stores that the credential controller reads; those of Secrets by the one name that is in each."""

    settings: CredentialSettings
    secrets: Mapping[str, Store[Secret]]
    rigs: Store[Rig]
    namespaces: Store[Namespace]

    def observe(self, key: ObjectKey) -> Observed:
        """Read everything about one credential, without awaiting: one consistent moment."""
        store = self.secrets[key.name]
        others = tuple(secret for secret in store.values() if secret.metadata.key != key)
        wanted = work_namespaces(self.rigs.by_index(RIGS_BY_CREDENTIAL, key.name)) - {key.namespace}
        return Observed(
            resource=store.resource,
            key=key,
            source=store.get(key),
            others=others,
            namespaces=frozenset(name for name in wanted if self._is_open(name) and store.covers(name)),
        )

    def _is_open(self, name: str) -> bool:
        namespace = self.namespaces.get(ObjectKey("", name))
        return namespace is not None and namespace.phase != "Terminating"


@frozen
class _Failure:
    """What the last try to refresh came to, and the monotonic second before which there is no other."""

    message: str
    number: int
    until: float


@define
class CredentialReconciler:
    """Keeps one credential fresh, and its copies what they are to be."""

    caches: Caches
    executor: Executor
    refresher: Refresher
    clock: Clock
    random: Random
    refreshes: Counter
    _failures: dict[str, _Failure] = field(factory=dict, init=False)
    _noticed: dict[str, float] = field(factory=dict, init=False)
    _told: set[str] = field(factory=set, init=False)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Look after the source, then after its copies."""
        observed = self.caches.observe(key)
        wait = await self._tended(observed)
        refused = await self._mirror(observed)
        waits = [seconds for seconds in (wait, REFUSED_PAUSE if refused else None) if seconds is not None]
        return Result(requeue_after=min(waits, default=None))

    async def _tended(self, observed: Observed) -> float | None:
        """Tend the source. A refusal is no event, and nor is its end: it is tried again, and the copies are seen to meanwhile."""
        if observed.source is None:
            return None
        try:
            return await self._tend(observed.resource, observed.source)
        except (Forbidden, Invalid) as error:
            logger.error("the Secret cannot be written: %s", error)  # noqa: TRY400 - foreseen: no traceback
            return REFUSED_PAUSE

    async def _mirror(self, observed: Observed) -> bool:
        """Write the copies that are not as they should be; return whether the API server refused one."""
        target, refused = observed.source, False
        for action in mirror_actions(observed):
            subject = target or next(each for each in observed.others if each.metadata.key == action.key)
            execution = await self.executor.execute(observed.resource, subject, Plan((action,)))
            if execution.refusal is not None:
                refused = True
                text = f"namespace {action.key.namespace} gets no copy: {execution.refusal.error}"
                await self._event(observed, "MirrorRefused", text)
        for other in strangers(observed) if target is not None else ():
            if other.metadata.uid not in self._told:
                self._told.add(other.metadata.uid)
                text = f"namespace {other.metadata.namespace} has a Secret of this name that the operator did not make; it is left alone"
                await self._event(observed, "NameTaken", text)
        return refused

    async def _event(self, observed: Observed, reason: str, text: str) -> None:
        if observed.source is not None:
            note = EventNote("Warning", reason, text, "Mirror")
            await self.executor.execute(observed.resource, observed.source, Plan(events=(note,)))

    async def _tend(self, resource: Resource[Secret], source: Secret) -> float | None:
        """See to the tokens, if it has any; return the seconds until they need another look."""
        try:
            oauth = find_oauth(source)
        except MalformedCredentialError as error:
            await self._say(resource, source, Judgement(State.MALFORMED, str(error)))
            return None
        if oauth is None:
            await self._say(resource, source, None)
            return None
        if source.immutable and oauth.refresh_token:
            text = "it is immutable, so tokens that are refreshed could not be kept in it"
            await self._say(resource, source, Judgement(State.MALFORMED, text))
            return None
        if self.refresher.has_unsaved(oauth):
            return await self._save(resource, source, oauth)
        wait = self._wait(source, oauth)
        if wait is not None and wait <= 0:
            return await self._refresh(resource, source, oauth)
        now, failure = self.clock.now(), self._failures.get(oauth.fingerprint)
        judged = judgement(source, oauth, now, failure.message if failure is not None else "")
        await self._say(resource, source, judged)
        left = (oauth.expires_at - now).total_seconds() if oauth.expires_at is not None else 0.0
        return min((seconds for seconds in (wait, left) if seconds is not None and seconds > 0), default=None)

    def _wait(self, source: Secret, oauth: OAuth) -> float | None:
        """Seconds until the refresh token may be spent; None: never."""
        due = refresh_time(source, oauth)
        if due is None:
            return None
        now, failure = self.clock.monotonic(), self._failures.get(oauth.fingerprint)
        pause = failure.until - now if failure is not None else 0.0
        return max((due - self.clock.now()).total_seconds(), pause, self._patience(source, oauth) - now)

    def _patience(self, source: Secret, oauth: OAuth) -> float:
        """The monotonic second until which another process may be in the middle of spending this token, as far as we can know."""
        noted = source.metadata.annotations.get(REFRESHING)
        if noted != oauth.fingerprint or self.refresher.began(noted):
            return float("-inf")
        return self._noticed.setdefault(noted, self.clock.monotonic()) + PATIENCE

    async def _refresh(self, resource: Resource[Secret], source: Secret, oauth: OAuth) -> float | None:
        noted = await self.refresher.note(resource, source, oauth)
        try:
            await self.refresher.spend(resource, noted, oauth)
        except RefreshRefused as error:
            self._count(source, "refused")
            text = f"the token endpoint refuses its refresh token ({error})"
            more = {REFUSED: oauth.fingerprint, REFRESHING: None}
            await self._say(resource, noted, Judgement(State.EXPIRED, text), more)
            return None
        except RefreshFailed as error:
            self._count(source, "failed")
            failure = self._failed(noted, oauth, error)
            judged = judgement(noted, oauth, self.clock.now(), failure.message)
            await self._say(resource, noted, judged, {REFRESHING: None})
            return failure.until - self.clock.monotonic()
        except ApiError:
            if not self.refresher.has_unsaved(oauth):
                raise
            return SAVE_PAUSE
        self._count(source, "ok")
        self._failures.pop(oauth.fingerprint, None)
        return None

    async def _save(self, resource: Resource[Secret], source: Secret, oauth: OAuth) -> float | None:
        """Try once more to write tokens that were got already; however it fails, it must be tried again."""
        try:
            await self.refresher.save(resource, source, oauth)
        except ApiError as error:
            logger.error("new tokens wait to be written: %s", error)  # noqa: TRY400 - foreseen: no traceback
            return SAVE_PAUSE
        self._count(source, "ok")
        return None

    def _failed(self, source: Secret, oauth: OAuth, error: RefreshFailed) -> _Failure:
        """Remember a failure: pauses double from 5 s, or from a tenth of the time that is left where tokens are short-lived."""
        before = self._failures.get(oauth.fingerprint)
        number = before.number + 1 if before is not None else 0
        due, first = refresh_time(source, oauth), FIRST_PAUSE
        if due is not None and oauth.expires_at is not None:
            first = min(FIRST_PAUSE, (oauth.expires_at - due).total_seconds() / 10)
        pause = min(LONGEST_PAUSE, first * 2.0 ** min(number, 16)) * self.random.uniform(0.5, 1.0)
        until = self.clock.monotonic() + max(pause, error.retry_after or 0.0)
        failure = self._failures[oauth.fingerprint] = _Failure(str(error), number, until)
        return failure

    async def _say(
        self,
        resource: Resource[Secret],
        source: Secret,
        judged: Judgement | None,
        more: Mapping[str, str | None] | None = None,
    ) -> None:
        """Write how it stands, if it is not written yet; an Event when that is news that somebody should know."""
        stored = source.metadata.annotations
        wanted = {STATE: None, MESSAGE: None} if judged is None else judged.annotations
        changes = {**wanted, **(more or {})}
        if all(stored.get(name) == value for name, value in changes.items()):
            return
        told = await self.refresher.tell(resource, source, changes)
        if judged is not None and judged.message and stored.get(STATE) != str(judged.state):
            note = EventNote("Warning", f"Credential{judged.state}", judged.message, "Refresh")
            await self.executor.execute(resource, told, Plan(events=(note,)))

    def _count(self, source: Secret, outcome: str) -> None:
        self.refreshes.labels(source.metadata.name, outcome).inc()


def register(manager: Manager, settings: CredentialSettings, clock: Clock, user_agent: str) -> Credentials:
    """Add the credential controller to a manager, if there are credentials; what is returned is for other controllers to ask."""
    keys = [ObjectKey(settings.namespace, name) for name in settings.names]
    stores = {
        key.name: manager.store(
            secret_resource(key), field_selector=f"metadata.name={key.name}", also_in=[key.namespace]
        )
        for key in keys
    }
    if not stores:
        return Credentials(settings)
    caches = Caches(
        settings,
        stores,
        manager.store(RIG, {RIGS_BY_CREDENTIAL: rigs_by_credential}),
        manager.store(NAMESPACE),
    )
    refresher = Refresher(
        manager.client,
        manager.unfenced_client("credentials", SAVE_TIMEOUT),
        TokenEndpoint(manager.may_write, user_agent),
        settings,
        manager.gate.bound(NAME),
        clock,
    )
    refreshes = Counter(
        "gastown_credential_refreshes",
        "Calls to the token endpoint by what came of them",
        ("secret", "outcome"),
        registry=manager.registry,
    )

    def of_rig(event: Event[Rig]) -> Iterable[ObjectKey]:
        states = [state for state in (event.old, event.new) if state is not None]
        names = {name for state in states for name in credential_names(state)}
        return [key for key in keys if key.name in names]

    watches: list[Watch[Any]] = [
        *(_own(store, ObjectKey(settings.namespace, name)) for name, store in stores.items()),
        mapped(RIG, of_rig, generation_changed),
        mapped(NAMESPACE, lambda _: keys, _opens_or_closes),
    ]
    reconciler = CredentialReconciler(
        caches,
        manager.executor(NAME),
        refresher,
        clock,
        Random(),  # noqa: S311 - jitter
        refreshes,
    )
    manager.add(Controller(NAME, reconciler, watches, concurrency=2))
    return Credentials(settings, stores)


def _own(store: Store[Secret], key: ObjectKey) -> Watch[Secret]:
    return mapped(store.resource, lambda _: (key,))


def _opens_or_closes(event: Event[Namespace]) -> bool:
    phases = [state.phase for state in (event.old, event.new) if state is not None]
    return len(phases) == 1 or phases[0] != phases[1]
