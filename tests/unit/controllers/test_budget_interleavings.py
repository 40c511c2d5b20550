"""The money of a rig against the model of the API server: whatever the order of events, no day costs more than it may.

The model's gateways spend what they were allowed to or less, and some leave no word of it. At rest, what polecats and rig say they
have cost is what was spent, and none that was deleted is held up, though its rig may have gone before it.
"""

from datetime import UTC, date, timedelta
from typing import Any, ClassVar

import attrs
import pytest

from gastown_operator.api.core import POD
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from gastown_operator.controllers.polecat.admission import POLECATS_BY_RIG
from gastown_operator.controllers.polecat.budget import reservation, reserved_by
from gastown_operator.controllers.rig.observe import Observed
from gastown_operator.controllers.rig.plan import plan as rig_plan
from gastown_operator.controllers.rig.reconciler import _counts, _rig_of_polecat
from gastown_operator.controllers.rig.spending import is_account
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome
from gastown_operator.runtime.controller import Watch, for_object, generation_changed, mapped
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Store
from gastown_operator.runtime.testing import VirtualClock
from gastown_operator.workload.message import Outcome
from tests.unit.controllers.objects import namespace, terminated
from tests.unit.controllers.test_interleavings import JSON, Operator, Server, World, ending

DAILY = 10_000
PROJECT = ObjectKey("", "project")


class Counting(Operator):
    """An operator whose rig controller counts."""

    def __init__(self, server: Server, clock: VirtualClock) -> None:
        super().__init__(server, clock)
        watches: list[tuple[Store[Any], Watch[Any]]] = [
            (self.rigs, for_object(RIG)),
            (self.rigs, mapped(RIG, self.wakeups.of_rig, generation_changed)),
            (self.rigs, mapped(RIG, self.wakeups.of_counted)),
            (self.polecats, mapped(POLECAT, _rig_of_polecat, _counts)),
        ]
        for store, watch in watches:
            store.add_handler(self._waker(watch))
        self.woken[PROJECT] = clock.monotonic()

    def take(self, key: ObjectKey) -> None:
        """The rig is the other controller's."""
        if key != PROJECT:
            super().take(key)
            return
        del self.woken[key]
        seen = self.rigs.get(key)
        if seen is not None:
            of_rig = self.polecats.by_index(POLECATS_BY_RIG, key.name)
            accounts = tuple(each for each in of_rig if is_account(each))
            moment = Observed(seen, namespace(), len(of_rig), 0, None, None, accounts=accounts)
            decided = rig_plan(moment, self.clock.now())
            self.flights[key] = (seen, decided)

    def land(self, key: ObjectKey) -> None:
        """What the rig's controller writes is its status alone."""
        if key != PROJECT:
            super().land(key)
            return
        seen, decided = self.flights.pop(key)
        stored = self.server.objects["Rig"].get(key)
        if (
            stored is not None
            and decided.status is not None
            and stored["metadata"]["uid"] == seen.metadata.uid
        ):
            self.behind[key]["Rig"] = self.server.put("Rig", {**stored, "status": dict(decided.status)})


@attrs.define
class Bill:
    """What a pod's agent has spent, or may still."""

    day: date
    tokens: int
    recorded: bool = False


class Market(World):
    """A world in which work costs tokens."""

    agent_config: ClassVar[JSON] = {"command": ["true"], "provider": "anthropic"}
    rig_spec: ClassVar[JSON] = {
        "budget": {"maxTokens": DAILY},
        "provision": {"witness": False, "refinery": False},
    }

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.bills: dict[str, Bill] = {}

    def starts(self) -> Operator:
        return Counting(self.server, self.clock)

    def today(self) -> date:
        return self.clock.now().astimezone(UTC).date()

    def check(self) -> None:
        super().check()
        self.forget_the_unseen()
        spent = sum(bill.tokens for bill in self.bills.values() if bill.day == self.today())
        held = sum(reserved_by(reservation(POD.project(body))).tokens for body in self.active())
        assert spent + held <= DAILY, "a day costs more than it may"

    def forget_the_unseen(self) -> None:
        """A pod that came and went while nobody looked leaves no trace that could be counted (no finalizer holds it)."""
        pods = {body["metadata"]["uid"]: body["metadata"]["name"] for body in self.pods()}
        for uid, bill in self.bills.items():
            bill.recorded = bill.recorded or self.is_recorded(uid)
            if uid not in pods and not bill.recorded:
                bill.tokens = 0

    def is_recorded(self, uid: str) -> bool:
        """Whether some status tells of the pod, or that there is one."""
        return any(
            body["status"].get("podActive")
            or any(attempt["podUID"] in (uid, "") for attempt in body["status"].get("attempts", []))
            for body in self.server.objects["Polecat"].values()
        )

    def ends(self, body: JSON, outcome: Outcome) -> None:
        allowed = reserved_by(reservation(POD.project(body))).tokens
        used = int(allowed * self.random.choice([0.0, 0.2, 1.0]))
        status = ending(outcome, self.clock.now())
        if self.random.random() < 0.8:
            record = GatewayRecord(ModelOutcome.OK, input_tokens=used).encode().decode()
            status["initContainerStatuses"].append(
                {"name": "gateway", "state": terminated(message=record, at=self.clock.now())}
            )
        else:
            used = allowed
        ended = self.clock.now() - timedelta(seconds=1)
        self.bills[body["metadata"]["uid"]] = Bill(ended.astimezone(UTC).date(), used)
        self.server.put("Pod", {**body, "status": status})

    def come_to_rest(self) -> None:
        if self.random.random() < 0.25:
            self.note("delete rig")
            self.server.remove("Rig", PROJECT)
        super().come_to_rest()
        leaving = [
            str(key)
            for key, body in self.server.objects["Polecat"].items()
            if "deletionTimestamp" in body["metadata"]
        ]
        assert not leaving, f"{leaving} are held up"

    def rests(self, body: JSON) -> bool:
        return super().rests(body) or PROJECT not in self.server.objects["Rig"]


@pytest.mark.parametrize("first", range(0, 75, 25))
def test_whatever_the_order_of_events_no_day_costs_more_than_it_may(first: int) -> None:
    for seed in range(first, first + 25):
        market = Market(seed)
        try:
            market.walk(250)
        except AssertionError as error:
            steps = "\n".join(market.trace[-80:])
            pytest.fail(f"seed {seed}: {error}\n{steps}")
