"""What the operator tells the housekeeping of a rig, through environment variables named GASTOWN_*."""

import json
from collections.abc import Mapping
from typing import Final

import attrs

from gastown_operator.workload import living
from gastown_operator.workload.living import Keys
from gastown_operator.workload.rig_refs import RigRefs

_PREFIX: Final = "GASTOWN_"
#: Linux takes at most 128 KiB for one variable (MAX_ARG_STRLEN).
_PIECE: Final = 96_000


@attrs.frozen
class HousekeepingSettings:
    """One run.

    Attributes:
        repository: URL of the rig's repository.
        refs: of the rig.
        keep: seconds for which refs stay after their polecat has gone.
        living: recovery keys of the rig's polecats, as the operator sees them.
        landed: keys whose polecats exist, but were merged longer ago than `keep`, and run no more.
        namespaces: where the operator sees polecats; others' keys are left alone. None means everywhere.
        told_at: the operator's clock when it saw this, in seconds since 1970.
        namespace: where the credential is, for messages.
        git_secret: name of the Secret that is mounted as git credentials, for messages.
        host_key_checking: OpenSSH's StrictHostKeyChecking.
    """

    repository: str
    refs: RigRefs
    keep: int
    living: Keys
    landed: Keys
    namespaces: tuple[str, ...]
    told_at: int
    namespace: str
    git_secret: str
    host_key_checking: str = "yes"

    def environment(self) -> dict[str, str]:
        """The variables from which `from_environment` reads the same settings."""
        values = {
            "REPOSITORY": self.repository,
            "REF_PREFIX": self.refs.prefix,
            "RIG": self.refs.rig,
            "KEEP": str(self.keep),
            "NAMESPACES": json.dumps(self.namespaces),
            "TOLD_AT": str(self.told_at),
            "NAMESPACE": self.namespace,
            "GIT_SECRET": self.git_secret,
            "HOST_KEY_CHECKING": self.host_key_checking,
            **_numbered("LIVING", self.living),
            **_numbered("LANDED", self.landed),
        }
        return {_PREFIX + name: value for name, value in values.items()}


def from_environment(environment: Mapping[str, str]) -> HousekeepingSettings:
    """Read the settings that `HousekeepingSettings.environment` wrote.

    Raises:
        KeyError: a variable is missing.
        ValueError: a variable is not what `HousekeepingSettings.environment` writes.
    """

    def value(name: str) -> str:
        return environment[_PREFIX + name]

    def keys(name: str) -> Keys:
        parts = [value(f"{name}_{number}") for number in range(int(value(f"{name}_PARTS")))]
        return living.decode("".join(parts))

    return HousekeepingSettings(
        repository=value("REPOSITORY"),
        refs=RigRefs(value("REF_PREFIX"), value("RIG")),
        keep=int(value("KEEP")),
        living=keys("LIVING"),
        landed=keys("LANDED"),
        namespaces=tuple(str(name) for name in json.loads(value("NAMESPACES"))),
        told_at=int(value("TOLD_AT")),
        namespace=value("NAMESPACE"),
        git_secret=value("GIT_SECRET"),
        host_key_checking=value("HOST_KEY_CHECKING"),
    )


def _numbered(name: str, keys: Keys) -> dict[str, str]:
    """A set in as many variables as it takes, and how many these are: one that is missing must not pass for keys that are gone."""
    text = keys.encode()
    parts = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    return {
        f"{name}_PARTS": str(len(parts)),
        **{f"{name}_{number}": part for number, part in enumerate(parts)},
    }
