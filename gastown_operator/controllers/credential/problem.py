"""What other controllers may ask: whether a rig can work with its credentials."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import field, frozen

from gastown_operator.api.rig import Rig
from gastown_operator.controllers.credential.mirror import credential_names, work_namespaces
from gastown_operator.controllers.credential.secret import Secret
from gastown_operator.controllers.credential.settings import CredentialSettings
from gastown_operator.controllers.credential.state import MESSAGE, State, state_of
from gastown_operator.runtime.controller import Watch, mapped
from gastown_operator.runtime.objects import ObjectKey
from gastown_operator.runtime.store import Event, Store

RIGS_BY_CREDENTIAL: Final = "credential"
EXPIRED: Final = "CredentialExpired"
INVALID: Final = "CredentialInvalid"
TAKEN: Final = "CredentialNameTaken"


@frozen
class CredentialProblem:
    """What is wrong with a credential of a rig, as reason and message of a condition; `holds`: nothing new is started meanwhile."""

    secret: str
    reason: str
    message: str
    holds: bool


@frozen
class Credentials:
    """The credentials that the operator was given, as the caches have them."""

    settings: CredentialSettings = field(default=CredentialSettings())
    stores: Mapping[str, Store[Secret]] = field(factory=dict)

    def problem(self, rig: Rig) -> CredentialProblem | None:
        """The worst problem with the Secrets that a rig names: one that holds its work before one that does not."""
        names = sorted(credential_names(rig) & self.stores.keys())
        holding = (self.problem_of(name) for name in names)
        found = next((problem for problem in holding if problem is not None), None)
        return found or next((taken for name in names for taken in self._taken(name, rig)), None)

    def holding(self, rig: Rig) -> Mapping[str, CredentialProblem]:
        """What keeps work with the Secrets that a rig names from beginning, by the Secret's name."""
        found = {name: self.problem_of(name) for name in credential_names(rig) & self.stores.keys()}
        return {name: problem for name, problem in found.items() if problem is not None}

    def problem_of(self, secret: str) -> CredentialProblem | None:
        """Why nobody can begin work with the Secret of this name; None also where the operator was not given it."""
        store = self.stores.get(secret)
        source = store.get(ObjectKey(self.settings.namespace, secret)) if store is not None else None
        state = state_of(source) if source is not None else None
        if source is None or state not in (State.EXPIRED, State.MALFORMED):
            return None
        said = source.metadata.annotations.get(MESSAGE, "")
        where = f'Secret "{secret}" in namespace {self.settings.namespace}'
        if state is State.MALFORMED:
            return CredentialProblem(secret, INVALID, f"{where}: {said}; {self._remedy(secret)}", holds=True)
        return CredentialProblem(secret, EXPIRED, f"{where}: {said}; {self._remedy(secret)}", holds=True)

    def watches(self, keys: Callable[[str], Iterable[ObjectKey]]) -> list[Watch[Any]]:
        """Watches that wake what `keys` says a credential's name concerns, when what is asked here may have another answer."""

        def watch(name: str, store: Store[Secret]) -> Watch[Secret]:
            return mapped(store.resource, lambda _: keys(name), _tells_more)

        return [watch(name, store) for name, store in self.stores.items()]

    def _remedy(self, secret: str) -> str:
        return (
            "log in again where there is a browser (claude /login), then: "
            f"kubectl -n {self.settings.namespace} create secret generic {secret} "
            "--from-file=.credentials.json=$HOME/.claude/.credentials.json --dry-run=client -o yaml | kubectl apply --server-side "
            "--force-conflicts -f -"
        )

    def _taken(self, name: str, rig: Rig) -> Iterable[CredentialProblem]:
        if self.stores[name].get(ObjectKey(self.settings.namespace, name)) is None:
            return
        for namespace in sorted(work_namespaces([rig]) - {self.settings.namespace}):
            other = self.stores[name].get(ObjectKey(namespace, name))
            if other is not None and not other.is_mirror:
                text = (
                    f'namespace {namespace} has a Secret "{name}" that the operator did not make, and polecats there use that one; '
                    f"to give them the operator's: kubectl -n {namespace} delete secret {name}"
                )
                yield CredentialProblem(name, TAKEN, text, holds=False)


def rigs_by_credential(rig: Rig) -> Iterable[str]:
    """Index: the rigs that name a Secret."""
    return credential_names(rig)


def _tells_more(event: Event[Secret]) -> bool:
    """Whether more than tokens has changed."""
    return bool(_telling(event.old) != _telling(event.new))


def _telling(secret: Secret | None) -> Any:
    if secret is None:
        return None
    return secret.is_mirror, state_of(secret), secret.metadata.annotations.get(MESSAGE)
