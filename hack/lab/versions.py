"""Versions of Kubernetes, and of what the lab builds beside it."""

import re
from dataclasses import dataclass

from hack.lab.errors import LabError

DEFAULT_KUBERNETES = "1.36.2"
OLDEST_MINOR = 34
KWOK = "v0.7.0"
COREDNS = "v1.13.1"
HELM = "v3.22.0"


@dataclass(frozen=True, order=True)
class KubernetesVersion:
    """A release of Kubernetes."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> "KubernetesVersion":
        """Of `1.36.2` or `v1.36.2`; raises LabError for anything else, and for what the lab cannot build."""
        match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text)
        if not match:
            raise LabError(
                f"{text!r} is no Kubernetes version: give all three numbers, such as {DEFAULT_KUBERNETES}"
            )
        version = cls(*(int(number) for number in match.groups()))
        if version.major != 1 or version.minor < OLDEST_MINOR:
            raise LabError(f"Kubernetes {version} is not supported by the lab: use 1.{OLDEST_MINOR} or later")
        return version

    @property
    def module(self) -> str:
        """The version of the module k8s.io/kubernetes."""
        return f"v{self}"

    @property
    def staging(self) -> str:
        """The version of the modules that are published from its staging folder."""
        return f"v0.{self.minor}.{self.patch}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
