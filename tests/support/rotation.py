"""Polecats that ask their provider again and again, over the expiries of the tokens that it wants."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

from gastown_operator.api.rig import RIG
from hack.token_server.ledger import Access, Shown
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
        shown = self.shown(name)
        used = {each.access for each in shown if each.access is not None}
        return sum(access.ends < shown[-1].at for access in used) if shown else 0

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

    def finish(self, seconds: float) -> None:
        """Let the model have had enough, and wait until all are done, which none is whose agent met anything but answers."""
        self.provider.says = persistent_agent.ENOUGH
        for polecat in self.polecats.values():
            polecat.until("Done", seconds=seconds)

    def statuses(self, name: str) -> Sequence[str]:
        """Return the status of every answer, as the agent itself has reported and pushed it."""
        git = self.rig.site.git
        text = git.show(self.rig.repository, f"refs/heads/polecat/{name}", persistent_agent.STATUSES.name)
        return text.splitlines()

    def lags(self) -> Mapping[str, Sequence[float]]:
        """Return, of each token, how long after it was given each polecat that had used an earlier one began to use it."""
        found: dict[str, list[float]] = defaultdict(list)
        for name in self.polecats:
            first: dict[Access, float] = {}
            for shown in self.shown(name):
                if shown.access is not None:
                    first.setdefault(shown.access, shown.at)
            for access, at in list(first.items())[1:]:
                found[access.token].append(at - access.begins)
        return found

    def spare(self) -> float:
        """Return the seconds between the last use of any expired token and its end, at the least."""
        last: dict[Access, float] = {}
        for shown in list(self.provider.ledger.shown):
            if shown.access is not None and shown.by.removeprefix("polecat-") in self.polecats:
                last[shown.access] = shown.at
        newest = max(last, key=lambda access: access.begins)
        return min(access.ends - at for access, at in last.items() if access is not newest)


def open_scene(site: Site, name: str, provider: TokenServer, secret: str, most: int) -> Scene:
    """Return a scene for at most so many polecats at once, whose Rig names a Secret as the credential for its provider."""
    reference = {"name": secret, "key": "access-token"}
    model = {"name": PROVIDER, "endpoint": provider.base_url, "secretRef": reference}
    spec = {"settings": {"maxPolecats": most}, "providers": [model]}
    return Scene(provider, site.rig(name, spec=spec))
