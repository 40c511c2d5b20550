"""Names that the operator derives. Deterministic, so that nothing is created twice, and valid for any input.

A name that had to be changed gets a hash of the original, so that two originals do not meet in one name.
"""

import re
from hashlib import sha256
from typing import Final

from gastown_operator.api.labels import RECOVERY_KEY
from gastown_operator.runtime.objects import ObjectMeta

MAX_NAME: Final = 253
MAX_LABEL: Final = 63
_MAX_RETRY_STEM: Final = 40
_MAX_REF_COMPONENT: Final = 200
"""Git keeps loose refs as files: 255 bytes less `.lock` and room for `-<round>`."""

_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_RECOVERY_KEY: Final = re.compile(r"[A-Za-z0-9-]{1,63}")
_PREFIX: Final = "polecat-"
_HOUSEKEEPING: Final = "gastown-housekeeping-"


def pod_name(polecat: str, attempt: int, uid: str) -> str:
    """Return the name of a Polecat's pod: `polecat-<name>`, and from the second attempt on one of its own each.

    `attempt` counts from 1 over all rounds; `uid` is the Polecat's, so that a namesake created later gets other names.
    """
    if attempt == 1:
        return _PREFIX + _shortened(polecat, MAX_NAME - len(_PREFIX))
    return f"{_PREFIX}{_shortened(polecat, _MAX_RETRY_STEM)}-r{attempt}-{uid[:4]}"


def housekeeping_job(rig: str) -> str:
    """Return the name of the Job that looks after a rig's refs: `gastown-housekeeping-<rig>`, short enough for its pods' labels."""
    return _HOUSEKEEPING + _shortened(rig, MAX_LABEL - len(_HOUSEKEEPING))


def work_branch(polecat: str, namespace: str, work_namespace: str) -> str:
    """Return the default work branch: `polecat/<name>`, and outside the work namespace `polecat/<namespace>/<name>`."""
    name = _ref_component(polecat)
    return f"polecat/{name}" if namespace == work_namespace else f"polecat/{namespace}/{name}"


def polecat_name(bead: str) -> str:
    """Return the name of a Polecat slung for a bead: the bead's own where it is DNS-safe, else one like it."""
    if is_dns_name(bead) and len(bead) <= MAX_LABEL:
        return bead
    like = re.sub("[^a-z0-9]+", "-", bead.lower())[: MAX_LABEL - 5].strip("-")
    return f"{like or 'bead'}-{_digest(bead, 4)}"


def label_value(text: str) -> str:
    """Return the text where it is a valid label value, else one like it; the exact text belongs in an annotation."""
    if _LABEL_VALUE.fullmatch(text) and len(text) <= MAX_LABEL:
        return text
    like = re.sub("[^-A-Za-z0-9_.]+", "-", text)[: MAX_LABEL - 9].strip("-_.")
    return f"{like}-{_digest(text, 8)}" if like else _digest(text, 8)


def recovery_key(metadata: ObjectMeta) -> str:
    """Return the key of a Polecat's refs on the remote: its annotation where that is a plain word, else its UID."""
    annotated = metadata.annotations.get(RECOVERY_KEY, "")
    return annotated if _RECOVERY_KEY.fullmatch(annotated) else metadata.uid


def is_dns_name(text: str) -> bool:
    """Whether the text is a DNS-1123 subdomain, as names of objects are."""
    return len(text) <= MAX_NAME and _DNS_NAME.fullmatch(text) is not None


def _shortened(name: str, limit: int) -> str:
    if len(name) <= limit:
        return name
    return f"{name[: limit - 9].rstrip('-.')}-{_digest(name, 8)}"


def _ref_component(name: str) -> str:
    """A DNS-1123 name as a component of a ref: git forbids the suffix `.lock`, file systems forbid long ones."""
    if name.endswith(".lock"):
        return f"{name[:_MAX_REF_COMPONENT]}-{_digest(name, 8)}"
    return _shortened(name, _MAX_REF_COMPONENT)


def _digest(text: str, length: int) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:length]
