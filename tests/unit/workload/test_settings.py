"""The settings of an attempt, through environment variables and back."""

import attrs
import pytest

from gastown_operator.workload.refs import RecoveryRefs
from gastown_operator.workload.settings import Settings, from_environment

PLAIN = Settings(
    repository="https://git.example.invalid/town/rig.git",
    base_branch="main",
    work_branch="polecat/toast",
    refs=RecoveryRefs("refs/gastown", "0b7c2f2e-aaaa", 3),
    attempt=2,
    polecat="gastown-workers/toast",
)
FULL = attrs.evolve(
    PLAIN,
    bead="gt-1",
    title="Fix it",
    prompt="Please fix it.\n",
    checkpoint_interval=30.0,
    deadline=3600.0,
    ended_by_pipe=True,
    agent="opencode",
    agent_files={"opencode.json": '{"a": "ä\\n"}'},
    gateway=True,
    idle_limit=600.0,
    stall_threshold=120.5,
    bases=(("polecat/first", "1" * 40), ("polecat/second", "2" * 40)),
    mirror=True,
    full_clone_limit=512,
)
#: Set by operators since issue 3; pods of older ones lack them.
NEWER = (
    "AGENT",
    "AGENT_FILES",
    "GATEWAY",
    "IDLE_LIMIT",
    "STALL_THRESHOLD",
    "BASES",
    "MIRROR",
    "FULL_CLONE_LIMIT",
)


@pytest.mark.parametrize("settings", [PLAIN, FULL], ids=["plain", "full"])
def test_settings_survive_the_environment(settings: Settings) -> None:
    assert from_environment(settings.environment()) == settings


def test_a_pod_of_an_older_operator_gets_defaults() -> None:
    environment = FULL.environment()
    for name in NEWER:
        del environment[f"GASTOWN_{name}"]
    defaults = {
        field: getattr(PLAIN, field)
        for field in ("agent", "agent_files", "gateway", "idle_limit", "stall_threshold", "bases", "mirror")
    }

    assert from_environment(environment) == attrs.evolve(FULL, full_clone_limit=0, **defaults)


def test_the_text_of_settings_shows_neither_the_prompt_nor_the_agents_files() -> None:
    shown = repr(FULL)

    assert "Please fix it" not in shown
    assert "opencode.json" not in shown
