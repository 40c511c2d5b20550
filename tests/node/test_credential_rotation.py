"""Real pods over the expiries of their credential: no gateway shows a token that is not good, whatever becomes of the operator.

The kubelet is as it is by default: it brings a changed Secret into a pod within 90 s (`syncFrequency` of a minute, and up to half of
that besides), so nothing here can be over sooner. All scenes play at the same time.
"""

import functools
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
from attrs import define, field

from hack.token_server.server import Fault
from tests.apiserver.client import JSON
from tests.support.polecats import condition
from tests.support.replicas import Replicas
from tests.support.rotation import Scene, open_scene
from tests.support.site import Site
from tests.support.subscriptions import Subscription, entrusted, subscribed

FULL = bool(os.environ.get("GASTOWN_FULL"))
POLECATS = 20 if FULL else 3
EXPIRIES = 3 if FULL else 1
#: Seconds. Refreshed at half of its life, a token leaves 135 s for the kubelet's 90, a new leader's 17, and a busy machine.
LIFETIME = 270.0
#: Promised for the token of a login: short enough that it is to be refreshed at once, and none too short for pods that start slowly.
FIRST_LIFETIME = 590.0
#: After its successor has been written, a login's token is good for so long, which is less than was promised: the kubelet has its 90 s.
GRACE = 110.0
#: Nothing that lives so long is refreshed in this test.
LONG_LIFETIME = 3600.0
LIMIT_SECONDS = 300.0
EXPIRED = "CredentialExpired"

patient = pytest.mark.timeout(4 * LIMIT_SECONDS)


@define
class Story:
    """What happens to whom.

    Attributes:
        rotation: the operator refreshes the tokens.
        refusal: the refresh is refused, and later somebody logs in again.
        stale: nobody refreshes the token.
        refused: the Rig's `Ready` once the refresh was refused.
        waiting: what the status of a polecat said that was slung then.
        waiting_pods: the pods that it had then.
    """

    rotation: Scene
    refusal: Scene
    stale: Scene
    refused: JSON = field(factory=dict)
    waiting: JSON = field(factory=dict)
    waiting_pods: Sequence[JSON] = ()


@pytest.fixture(scope="module")
def story(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """All of it, played under operators of its own: two, of which one leads."""
    directory = tmp_path_factory.mktemp("replicas")
    assert site.operator.stop() == 0
    try:
        with ExitStack() as stack:
            rotating, refused = (
                stack.enter_context(subscribed(site.cluster, site.address, lifetime, directory))
                for lifetime in (LIFETIME, LONG_LIFETIME)
            )
            stack.enter_context(entrusted((rotating.name, refused.name)))
            arguments = (*site.operator.arguments, "--credentials", f"{rotating.name},{refused.name}")
            replicas = Replicas(site.operator.kubeconfig, directory, arguments)
            stack.callback(replicas.stop)
            yield _play(site, rotating, refused, replicas)
    finally:
        site.operator.start()


def _play(site: Site, rotating: Subscription, refused: Subscription, replicas: Replicas) -> Story:
    began = time.monotonic()
    stale, _ = rotating.provider.ledger.give(LONG_LIFETIME)
    told = Story(
        open_scene(site, "rotation", rotating.provider, rotating.name, POLECATS),
        open_scene(site, "refusal", refused.provider, refused.name, 2),
        open_scene(site, "stale", rotating.provider, "stale-token", 1),
    )
    told.stale.rig.secret("stale-token", {"access-token": stale})
    firsts = [(each, _log_in_while_busy(each)) for each in (rotating, refused)]
    refused.provider.faults.append(Fault.REFUSE)
    replicas.start()
    replicas.start()
    replicas.until(lambda: {rotating.state, refused.state} == {"Failing"}, "the token endpoints are busy")
    told.stale.sling("stale")
    told.rotation.sling(*(f"p{number}" for number in range(POLECATS)))
    told.refusal.sling("running")
    for scene in (told.stale, told.rotation, told.refusal):
        replicas.until(scene.all_answered, "all of them work", LIMIT_SECONDS)

    replicas.kill_leader()  # the next one does not know that it was to ask later
    rotating.provider.ledger.expire(stale)
    _see_refusal(told, replicas)
    refused.log_in()
    replicas.until(lambda: rotating.provider.ledger.spent, "the first refresh")
    for subscription, first in firsts:
        replicas.until(functools.partial(_is_settled, subscription), "the new tokens are written")
        subscription.provider.ledger.expire(first, GRACE)
    if FULL:
        _kill_after_second_refresh(rotating, replicas)
    replicas.until(lambda: told.rotation.survived_by_all() >= EXPIRIES, "tokens expire", 3 * LIMIT_SECONDS)
    replicas.until(lambda: told.refusal.survived("running") == 1, "its first token expires", LIMIT_SECONDS)
    for scene in (told.rotation, told.refusal):
        scene.let_end()
        replicas.until(functools.partial(_all_done, scene), "all are done", LIMIT_SECONDS)
    print(json.dumps(_report(told, time.monotonic() - began)))  # noqa: T201 - the figures are what this is for
    return told


def _log_in_while_busy(subscription: Subscription) -> str:
    """A leader asks once, and then not again in its life: so the pods start with the token of the login, which is returned."""
    subscription.provider.busy_for = int(LONG_LIFETIME)
    subscription.provider.faults.append(Fault.BUSY)
    subscription.log_in(FIRST_LIFETIME)
    subscription.point_at_provider()
    return subscription.provider.ledger.newest


def _is_settled(subscription: Subscription) -> bool:
    return subscription.is_settled


def _all_done(scene: Scene) -> bool:
    return set(scene.phases()) == {"Done"}


def _see_refusal(told: Story, replicas: Replicas) -> None:
    refusal = told.refusal
    told.refused = replicas.until(
        lambda: ready if (ready := refusal.ready()).get("reason") == EXPIRED else None,
        "the rig says that its credential has expired",
    )
    refusal.sling("late")
    late = refusal.polecats["late"]
    told.waiting = replicas.until(
        lambda: status if condition(status := late.status, "Queued").get("reason") == EXPIRED else None,
        "the late one waits for the credential",
    )
    told.waiting_pods = late.pods()


def _kill_after_second_refresh(rotating: Subscription, replicas: Replicas) -> None:
    """As soon as the new tokens are written, whether they are copied or not."""
    replicas.until(lambda: len(rotating.provider.ledger.spent) >= 2, "the second refresh", LIMIT_SECONDS)
    replicas.until(lambda: rotating.is_settled, "its tokens are written")
    replicas.kill_leader()


@patient
def test_no_agent_meets_anything_but_answers(story: Story) -> None:
    """Each has reported the status of every answer in what it has pushed; no work was begun anew."""
    for name, polecat in story.rotation.polecats.items():
        assert set(story.rotation.statuses(name)) == {"200"}
        assert polecat.status["attempt"] == 1
    assert len(story.rotation.polecats) == POLECATS


@patient
def test_every_polecat_outlives_its_tokens_and_the_provider_sees_no_bad_one(story: Story) -> None:
    for name in story.rotation.polecats:
        assert story.rotation.survived(name) >= EXPIRIES
        assert [shown for shown in story.rotation.shown(name) if not shown.good] == []
    theirs = {f"polecat-{name}" for name in (*story.rotation.polecats, *story.stale.polecats)}
    assert {shown.by for shown in story.rotation.provider.ledger.shown} == theirs


@patient
def test_each_refresh_token_is_spent_once_though_leaders_are_killed(story: Story) -> None:
    provider = story.rotation.provider
    assert len(provider.ledger.spent) >= EXPIRIES
    assert set(provider.ledger.spent.values()) == {1}
    assert provider.calls == 1 + provider.ledger.spent.total()  # the first was told to come later


@patient
def test_a_token_that_nobody_refreshes_is_refused_and_its_agent_hears_of_it(story: Story) -> None:
    """What the others are spared: without this, the tests above would prove nothing."""
    polecat = story.stale.polecats["stale"]
    message = condition(polecat.until("Stuck", "RigCredentialRejected"), "Ready")["message"]
    assert "does not accept the credential of this run (401)" in message
    polecat.until_agent_says("answered with 400", seconds=10)
    polecat.until_agent_says("authentication failed", seconds=10)
    goods = [shown.good for shown in story.stale.shown("stale")]
    assert goods == [True] * goods.count(True) + [False] * goods.count(False)
    assert min(goods.count(True), goods.count(False)) > 0


@patient
def test_a_refused_refresh_is_the_rigs_trouble_and_holds_what_has_not_started(story: Story) -> None:
    assert "invalid_grant" in story.refused["message"]
    assert "create secret generic subscription-" in story.refused["message"]
    queued = condition(story.waiting, "Queued")
    assert (story.waiting["phase"], queued["status"], queued["reason"]) == ("Idle", "True", EXPIRED)
    assert "invalid_grant" in condition(story.waiting, "Ready")["message"]
    assert story.waiting_pods == []


@patient
def test_a_new_login_starts_what_waits_and_reaches_what_runs(story: Story) -> None:
    refusal = story.refusal
    new = refusal.provider.ledger.newest
    assert {shown.token for shown in refusal.shown("late")} == {new}
    assert refusal.shown("running")[-1].token == new
    for name, polecat in refusal.polecats.items():
        assert set(refusal.statuses(name)) == {"200"}
        assert polecat.status["attempt"] == 1
    assert refusal.provider.ledger.rejected == []
    assert refusal.ready().get("reason") != EXPIRED


def _report(told: Story, seconds: float) -> JSON:
    lags = told.rotation.lags()
    return {
        "polecats": POLECATS,
        "requests": len(told.rotation.provider.ledger.shown),
        "refreshes": told.rotation.provider.ledger.spent.total(),
        "secondsUntilUsed": {
            token[-3:]: [round(figure) for figure in (min(each), statistics.median(each), max(each))]
            for token, each in lags.items()
        },
        "secondsToSpare": round(told.rotation.spare()),
        "afterLogin": [round(lag) for each in told.refusal.lags().values() for lag in each],
        "seconds": round(seconds),
    }
