"""What the schema may not forbid, because objects with it may be stored already, and we must not use.

The controllers put these into a condition and start nothing. Pure; used before anything reaches a program.
"""

import re
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from gastown_operator.api.giturl import GitURLError, parse_git_url
from gastown_operator.api.names import is_dns_name
from gastown_operator.api.podspec import KubernetesSpec, PodSettings
from gastown_operator.api.polecat import Polecat, PolecatSpec
from gastown_operator.api.rig import Rig

MAX_BEAD_ID: Final = 253
MAX_TASK_BYTES: Final = 64 * 1024
"""The task becomes a file or an environment variable, which Linux caps at 128 KiB."""

_MAX_REF: Final = 512
_MAX_REF_COMPONENT: Final = 240
_FORBIDDEN_IN_REF: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")


@frozen
class Problem:
    """Why an object is refused: a reason for the condition, a message that helps, and the field it is about."""

    reason: str
    message: str
    field: str


def polecat_problems(polecat: Polecat) -> tuple[Problem, ...]:
    """Return what keeps this Polecat from being run; nothing for a good one."""
    spec = polecat.spec
    return (
        *_rig_name(spec),
        *_texts(spec),
        *_seconds("spec.ttlSecondsAfterFinished", spec.ttl_seconds_after_finished, least=0),
        *_seconds("spec.maxIdleSeconds", spec.max_idle_seconds, least=1),
        *_pod_settings("spec.kubernetes", spec.kubernetes),
        *_branch("spec.kubernetes.workBranch", "InvalidWorkBranch", spec.kubernetes.work_branch),
        *_repository("spec.kubernetes.gitRepository", spec.kubernetes.git_repository),
        *_references(spec.kubernetes, spec),
    )


def rig_problems(rig: Rig) -> tuple[Problem, ...]:
    """Return what keeps this Rig from being used; nothing for a good one."""
    spec = rig.spec
    missing = (
        [] if spec.git_url else [Problem("GitURLMissing", "spec.gitURL is empty; set it", "spec.gitURL")]
    )
    return (
        *missing,
        *_repository("spec.gitURL", spec.git_url),
        *_pod_settings("spec.defaults.kubernetes", spec.defaults.kubernetes),
    )


def branch_problem(name: str) -> str:
    """Return why git (check-ref-format) or we refuse this branch name, or an empty string."""
    if name.startswith("-"):
        return "begins with '-'"
    if _FORBIDDEN_IN_REF.search(name):
        return "has white space, control characters or one of ~ ^ : ? * [ \\"
    if name.startswith("refs/"):
        return "begins with 'refs/', so that git could take it for another ref"
    if name in ("@", "HEAD"):
        return "is a name that git reserves"
    if ".." in name or "@{" in name or name.endswith("."):
        return "has '..' or '@{', or ends with '.'"
    if len(name.encode(errors="replace")) > _MAX_REF:
        return f"has more than {_MAX_REF} bytes"
    return next((problem for part in name.split("/") if (problem := _component_problem(part))), "")


def _component_problem(component: str) -> str:
    if not component:
        return "begins or ends with '/', or has '//'"
    if component.startswith(".") or component.endswith(".lock"):
        return "has a part that begins with '.' or ends with '.lock'"
    if len(component.encode(errors="replace")) > _MAX_REF_COMPONENT:
        return f"has a part of more than {_MAX_REF_COMPONENT} bytes"
    return ""


def _rig_name(spec: PolecatSpec) -> Iterator[Problem]:
    if not is_dns_name(spec.rig):
        yield Problem("InvalidRig", "spec.rig names no Rig; set it to the name of one", "spec.rig")


def _texts(spec: PolecatSpec) -> Iterator[Problem]:
    if len(spec.bead_id) > MAX_BEAD_ID or not spec.bead_id.isprintable():
        yield Problem(
            "InvalidBeadID",
            f"spec.beadID must have at most {MAX_BEAD_ID} characters and no control characters",
            "spec.beadID",
        )
    if len(spec.task_description.encode(errors="replace")) > MAX_TASK_BYTES or "\0" in spec.task_description:
        yield Problem(
            "InvalidTaskDescription",
            f"spec.taskDescription must have at most {MAX_TASK_BYTES} bytes and no NUL; put details into the repository",
            "spec.taskDescription",
        )


def _seconds(field: str, value: int | None, *, least: int) -> Iterator[Problem]:
    if value is not None and value < least:
        yield Problem(
            "InvalidDuration", f"{field} is {value}; set it to {least} or more, or remove it", field
        )


def _pod_settings(field: str, settings: PodSettings) -> Iterator[Problem]:
    yield from _branch(f"{field}.gitBranch", "InvalidGitBranch", settings.git_branch)
    yield from _seconds(f"{field}.activeDeadlineSeconds", settings.active_deadline_seconds, least=1)


def _branch(field: str, reason: str, name: str) -> Iterator[Problem]:
    problem = branch_problem(name) if name else ""
    if problem:
        yield Problem(reason, f"{field} {problem}; set it to a branch name that git allows", field)


def _repository(field: str, url: str) -> Iterator[Problem]:
    if not url:
        return
    try:
        parse_git_url(url)
    except GitURLError as error:
        yield Problem("InvalidGitRepository", f"{field} {error}", field)


def _references(kubernetes: KubernetesSpec, spec: PolecatSpec) -> Iterator[Problem]:
    """Yield a problem for each reference that can name no object; the API server would refuse the whole pod."""
    model = spec.agent_config.model_provider.api_key_secret_ref
    named = {
        "spec.kubernetes.gitSecretRef.name": kubernetes.git_secret_ref,
        "spec.kubernetes.claudeCredsSecretRef.name": kubernetes.claude_creds_secret_ref,
        "spec.kubernetes.apiKeySecretRef.name": kubernetes.api_key_secret_ref,
        "spec.agentConfig.modelProvider.apiKeySecretRef.name": model,
    }
    for field, reference in named.items():
        if reference is not None and not is_dns_name(reference.name):
            yield Problem(
                "InvalidSecretName",
                f"{field} is not the name of a Secret; set it to one, or remove it",
                field,
            )
    maps = {
        "spec.kubernetes.sshKnownHostsConfigMapRef.name": kubernetes.ssh_known_hosts_config_map_ref,
        "spec.agentConfig.configMapRef.name": spec.agent_config.config_map_ref,
    }
    for field, config_map in maps.items():
        if config_map is not None and config_map.name and not is_dns_name(config_map.name):
            yield Problem(
                "InvalidConfigMapName",
                f"{field} is not the name of a ConfigMap; set it to one, or remove it",
                field,
            )
