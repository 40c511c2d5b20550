"""What the schema lets pass and the controllers refuse."""

import subprocess
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gastown_operator.api.codec import from_json
from gastown_operator.api.polecat import Polecat, PolecatSpec
from gastown_operator.api.rig import Rig, RigSpec
from gastown_operator.api.validation import branch_problem, polecat_problems, rig_problems
from gastown_operator.runtime.objects import ObjectMeta

METADATA = ObjectMeta("furiosa", "work")


def reasons(**spec: Any) -> list[str]:
    polecat = Polecat(metadata=METADATA, spec=from_json(PolecatSpec, {"rig": "citadel"} | spec))
    return [problem.reason for problem in polecat_problems(polecat)]


def test_a_minimal_polecat_and_rig_are_fine() -> None:
    assert reasons() == []
    assert (
        rig_problems(Rig(metadata=METADATA, spec=RigSpec(git_url="git@github.com:o/r", beads_prefix="gt")))
        == ()
    )


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"rig": ""}, "InvalidRig"),
        ({"rig": "Not A Rig"}, "InvalidRig"),
        ({"beadID": "gt-1\nSigned-off-by: root"}, "InvalidBeadID"),
        ({"beadID": "x" * 10_000}, "InvalidBeadID"),
        ({"taskDescription": "x" * 70_000}, "InvalidTaskDescription"),
        ({"taskDescription": "\0"}, "InvalidTaskDescription"),
        ({"ttlSecondsAfterFinished": -1}, "InvalidDuration"),
        ({"maxIdleSeconds": 0}, "InvalidDuration"),
        ({"kubernetes": {"activeDeadlineSeconds": 0}}, "InvalidDuration"),
        ({"kubernetes": {"gitBranch": "-upload-pack=x"}}, "InvalidGitBranch"),
        ({"kubernetes": {"gitBranch": "a..b"}}, "InvalidGitBranch"),
        ({"kubernetes": {"workBranch": "--force"}}, "InvalidWorkBranch"),
        ({"kubernetes": {"gitRepository": "ext::sh -c id"}}, "InvalidGitRepository"),
        ({"kubernetes": {"gitSecretRef": {"name": ""}}}, "InvalidSecretName"),
        ({"kubernetes": {"apiKeySecretRef": {"name": "../x", "key": "k"}}}, "InvalidSecretName"),
        ({"agentConfig": {"configMapRef": {"name": "A B"}}}, "InvalidConfigMapName"),
    ],
)
def test_a_polecat_that_must_not_run_is_refused_with_a_reason(spec: dict[str, Any], reason: str) -> None:
    assert reasons(**spec) == [reason]


@pytest.mark.parametrize(
    "spec",
    [
        {"beadID": "gt-1; $(rm -rf /) `id` 'x' \"y\""},
        {"taskDescription": "Fix it.\n\n\t- really; `now`"},
        {"ttlSecondsAfterFinished": 0},
        {"agentConfig": {"configMapRef": {"name": ""}}},
        {
            "kubernetes": {
                "gitBranch": "release/1.2",
                "workBranch": "feature/gt-1",
                "gitRepository": "ssh://git@h:2222/r",
            }
        },
    ],
)
def test_odd_but_harmless_data_is_accepted(spec: dict[str, Any]) -> None:
    assert reasons(**spec) == []


def test_problems_name_the_field_and_say_what_to_do() -> None:
    (problem,) = polecat_problems(Polecat(metadata=METADATA))
    assert problem.field == "spec.rig"
    assert problem.message == "spec.rig names no Rig; set it to the name of one"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"gitURL": ""}, "GitURLMissing"),
        ({"gitURL": "file:///srv"}, "InvalidGitRepository"),
        ({"gitURL": "-x"}, "InvalidGitRepository"),
        ({"gitURL": "https://h/r", "defaults": {"kubernetes": {"gitBranch": "a.lock"}}}, "InvalidGitBranch"),
    ],
)
def test_a_rig_that_must_not_be_used_is_refused_with_a_reason(spec: dict[str, Any], reason: str) -> None:
    rig = Rig(metadata=METADATA, spec=from_json(RigSpec, spec))
    assert [problem.reason for problem in rig_problems(rig)] == [reason]


@given(st.text("ab-./@{~^:?*[\\ \x7f\té\nH", min_size=1, max_size=8))
@example("HEAD")
@example("refs/heads/main")
@example("@")
@example("a.lock/b")
def test_git_accepts_every_branch_name_that_we_accept(name: str) -> None:
    if branch_problem(name) == "":
        subprocess.run(["git", "check-ref-format", "--branch", name], check=True, capture_output=True)


@given(st.from_regex(r"[a-zA-Z0-9._/-]{1,12}", fullmatch=True))
def test_we_accept_every_branch_name_of_the_schema_that_git_accepts(name: str) -> None:
    git = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False, capture_output=True)
    allowed = git.returncode == 0 and not name.startswith(("-", "refs/")) and name != "HEAD"
    assert (branch_problem(name) == "") is allowed


@pytest.mark.parametrize("name", ["a" * 241, "/".join(["a" * 100] * 6)])
def test_branch_names_that_no_file_system_holds_are_refused(name: str) -> None:
    assert "more than" in branch_problem(name)
