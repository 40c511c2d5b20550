"""Polecats that ask their provider again and again, over the expiries of the tokens that it wants."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from attrs import define, field

from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from hack.token_server.ledger import Shown
from hack.token_server.server import TokenServer
from tests.apiserver.client import JSON
from tests.support import persistent_agent
from tests.support.polecats import PolecatHandle, condition
from tests.support.site import RigHandle, Site

PROVIDER = "anthropic"
#: An agent asks every few seconds; one that has not for so long has ended.
SILENCE_SECONDS = 90.0
AGENT = Path(persistent_agent.__file__).read_text()


@define
class Scene:
    """A rig with a provider that knows which tokens are good, and the polecats that work there."""

    provider: TokenServer
    rig: RigHandle
    polecats: dict[str, PolecatHandle] = field(factory=dict)

    def sling(self, *names: str) -> None:
        """Create polecats that shall work; how many may at once, the Rig says."""
        config = {"provider": PROVIDER, "model": "scripted", "command": ["python3", "-c", AGENT]}
        self.polecats |= {name: self.rig.sling(name, agentConfig=config) for name in names}

    def shown(self, name: str) -> list[Shown]:
        """Return every token that the polecat's gateway has shown, in order."""
        return [shown for shown in list(self.provider.ledger.shown) if shown.by == f"polecat-{name}"]

    def all_answered(self) -> bool:
        """Whether every polecat has had an answer."""
        return all(any(shown.good for shown in self.shown(name)) for name in self.polecats)

    def survived(self, name: str) -> int:
        """How many tokens that a polecat has used had expired when it last asked."""
        shown, given = self.shown(name), self.provider.ledger.accesses
        used = {each.token for each in shown if each.token is not None}
        return sum(given[token].ends < shown[-1].at for token in used) if shown else 0

    def survived_by_all(self) -> int:
        """How many that were for the polecat that has used the fewest. Raises AssertionError where one asks no more."""
        for name in self.polecats:
            silent = time.time() - self.shown(name)[-1].at
            assert silent < SILENCE_SECONDS, f"{name} asks no more: {self.polecats[name].status}"
        return min(self.survived(name) for name in self.polecats)

    def ready(self) -> JSON:
        """Return the Rig's condition `Ready`."""
        rig = self.rig.site.cluster.get(RIG, "", self.rig.name) or {}
        return condition(rig.get("status", {}), "Ready")

    def let_end(self) -> None:
        """Let the model have had enough, so that the agents end."""
        self.provider.says = persistent_agent.ENOUGH

    def phases(self) -> Sequence[str]:
        """Return the phases of the polecats. Raises AssertionError where one is Stuck."""
        stored = self.rig.site.cluster.objects(POLECAT, self.rig.namespace)
        statuses = [each.get("status", {}) for each in stored]
        stuck = [condition(status, "Ready") for status in statuses if status.get("phase") == "Stuck"]
        assert stuck == []
        return [status.get("phase", "") for status in statuses]

    def statuses(self, name: str) -> Sequence[str]:
        """Return the status of every answer, as the agent itself has reported and pushed it."""
        git = self.rig.site.git
        text = git.show(self.rig.repository, f"refs/heads/polecat/{name}", persistent_agent.STATUSES.name)
        return text.splitlines()

    def lags(self) -> Mapping[str, Sequence[float]]:
        """Return, of each token, how long after it was given each polecat that had used an earlier one began to use it."""
        found, given = defaultdict[str, list[float]](list), self.provider.ledger.accesses
        for name in self.polecats:
            first: dict[str, float] = {}
            for shown in self.shown(name):
                if shown.token is not None:
                    first.setdefault(shown.token, shown.at)
            for token, at in list(first.items())[1:]:
                found[token].append(at - given[token].begins)
        return found

    def spare(self) -> float:
        """Return the seconds between the last use of any token that has expired and its end, at the least."""
        given = self.provider.ledger.accesses
        shown = [each for name in self.polecats for each in self.shown(name)]
        last = {each.token: each.at for each in sorted(shown, key=attrgetter("at")) if each.token}
        return min(given[token].ends - at for token, at in last.items() if given[token].ends < time.time())


def open_scene(site: Site, name: str, provider: TokenServer, secret: str, most: int) -> Scene:
    """Return a scene for at most so many polecats at once, whose Rig names a Secret as the credential for its provider."""
    reference = {"name": secret, "key": "access-token"}
    model = {"name": PROVIDER, "endpoint": provider.base_url, "secretRef": reference}
    spec = {"settings": {"maxPolecats": most}, "providers": [model]}
    return Scene(provider, site.rig(name, spec=spec))
