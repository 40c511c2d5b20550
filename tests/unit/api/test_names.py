"""Derived names: deterministic, valid for any input, and apart for what is apart."""

import re
import subprocess
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.api.labels import RECOVERY_KEY
from gastown_operator.api.names import (
    is_dns_name,
    label_value,
    pod_name,
    polecat_name,
    recovery_key,
    work_branch,
)
from gastown_operator.api.validation import branch_problem
from gastown_operator.runtime.objects import ObjectMeta

UID = "3f2a9c51-0000-4000-8000-000000000000"

dns_names = (
    st.from_regex(
        r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?){0,5}", fullmatch=True
    )
    .map(lambda name: name[:253].rstrip("-."))
    .filter(bool)
)


@pytest.mark.parametrize(
    ("polecat", "attempt", "expected"),
    [
        ("furiosa", 1, "polecat-furiosa"),
        ("furiosa", 2, "polecat-furiosa-r2-3f2a"),
        ("furiosa", 12, "polecat-furiosa-r12-3f2a"),
        ("a" * 40, 2, f"polecat-{'a' * 40}-r2-3f2a"),
        ("a" * 41, 2, f"polecat-{'a' * 31}-c0f8bd4d-r2-3f2a"),
        ("a" * 245, 1, f"polecat-{'a' * 245}"),
        ("a" * 246, 1, f"polecat-{'a' * 236}-934f3812"),
    ],
)
def test_pods_are_named_after_their_polecat(polecat: str, attempt: int, expected: str) -> None:
    assert pod_name(polecat, attempt, UID) == expected


@given(dns_names, st.integers(1, 10_000), st.uuids())
def test_pod_names_are_valid_names(polecat: str, attempt: int, uid: UUID) -> None:
    assert is_dns_name(pod_name(polecat, attempt, str(uid)))


@given(dns_names, dns_names, st.integers(1, 99))
def test_two_polecats_never_share_a_pod_name(one: str, other: str, attempt: int) -> None:
    if one != other:
        assert pod_name(one, attempt, UID) != pod_name(other, attempt, UID)


@given(st.text(max_size=300))
def test_any_text_becomes_a_label_value(text: str) -> None:
    value = label_value(text)
    assert len(value) <= 63
    assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", value)


@given(st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True))
def test_a_valid_label_value_stays_as_it_is(text: str) -> None:
    assert label_value(text) == text


@pytest.mark.parametrize("text", ["gt-1; rm -rf /", "-", "…", "gt 1", "a" * 64, "gt-1\n", "\ud800"], ids=repr)
def test_a_changed_label_value_carries_a_hash(text: str) -> None:
    assert re.search(r"[0-9a-f]{8}$", label_value(text))


def test_texts_that_sanitise_alike_keep_different_label_values() -> None:
    assert label_value("gt 1") != label_value("gt/1")


@pytest.mark.parametrize(
    ("bead", "expected"),
    [
        ("gt-12", "gt-12"),
        ("GT-12", "gt-12-98fe"),
        ("gt_12.a", "gt-12-a-cbc7"),
        ("gt-12.1", "gt-12.1"),
        ("", "bead-e3b0"),
        ("--", "bead-d815"),
    ],
)
def test_a_slung_polecat_is_named_after_its_bead(bead: str, expected: str) -> None:
    assert polecat_name(bead) == expected


@given(st.text(max_size=300))
def test_any_bead_gives_a_valid_polecat_name(bead: str) -> None:
    name = polecat_name(bead)
    assert is_dns_name(name)
    assert len(name) <= 63


def test_the_work_branch_names_the_namespace_outside_the_work_namespace() -> None:
    assert work_branch("furiosa", "work", "work") == "polecat/furiosa"
    assert work_branch("furiosa", "team-a", "work") == "polecat/team-a/furiosa"


@given(dns_names, dns_names.filter(lambda name: "." not in name))
def test_work_branches_are_names_that_we_accept_ourselves(polecat: str, namespace: str) -> None:
    assert branch_problem(work_branch(polecat, namespace, "work")) == ""


@pytest.mark.parametrize("polecat", ["a.lock", "a" * 253, f"{'a' * 245}.lock", "x.y-z"])
def test_git_accepts_the_work_branch_of_an_awkward_name(polecat: str) -> None:
    branch = work_branch(polecat, "team", "work")
    subprocess.run(["git", "check-ref-format", "--branch", branch], check=True, capture_output=True)
    assert all(len(part) <= 240 for part in branch.split("/"))


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, UID),
        ("backup-of-furiosa", "backup-of-furiosa"),
        ("", UID),
        ("../heads/main", UID),
        ("a" * 63, "a" * 63),
        ("a" * 64, UID),
        ("a\n", UID),
    ],
)
def test_the_recovery_key_is_a_plain_annotation_or_the_uid(annotation: str | None, expected: str) -> None:
    annotations = {} if annotation is None else {RECOVERY_KEY: annotation}
    assert recovery_key(ObjectMeta("furiosa", uid=UID, annotations=annotations)) == expected
