"""Schemas: bounded where they are ours, never tighter than the older operator's where they are not."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gastown_operator.api.crd import definition
from gastown_operator.api.kinds import KINDS, Kind
from gastown_operator.api.podspec import REPOSITORY_PATTERN
from gastown_operator.api.schema import Schema
from tests.apiserver.schemas import VERSIONS, older, ours, root, walk

OLDER_REPOSITORY_PATTERN = r"^(git@[a-zA-Z0-9._-]+:|https?://[a-zA-Z0-9._-]+/)[a-zA-Z0-9._/-]+(\.git)?$"
LIMITS_FROM_ABOVE = ("maximum", "maxLength", "maxItems", "maxProperties")
LIMITS_FROM_BELOW = ("minimum", "minLength", "minItems", "minProperties")
DEFAULTED_BY_THE_RIG = {
    "spec.executionMode",
    "spec.agent",
    "spec.agentConfig.provider",
    "spec.kubernetes.gitBranch",
    "spec.kubernetes.activeDeadlineSeconds",
    "spec.kubernetes.sshStrictHostKeyChecking",
}

by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.plural)
by_version = pytest.mark.parametrize("version", VERSIONS)


def tightenings(path: str, old: Schema, new: Schema) -> Iterator[str]:
    """Yield what an object valid under `old` could violate under `new`."""
    if new.get("x-kubernetes-preserve-unknown-fields"):
        return
    if old.get("type") != new.get("type"):
        yield f"{path}: type {old.get('type')} became {new.get('type')}"
    if "enum" in new and not set(old.get("enum", ["?"])) <= set(new["enum"]):
        yield f"{path}: enum lost {set(old.get('enum', ['?'])) - set(new['enum'])}"
    if new.get("pattern") not in (None, old.get("pattern"), REPOSITORY_PATTERN):
        yield f"{path}: pattern became {new['pattern']}"
    if new.get("format") not in (None, old.get("format")):
        yield f"{path}: format became {new['format']}"
    for limit in LIMITS_FROM_ABOVE:
        if limit in new and new[limit] < old.get(limit, float("inf")):
            yield f"{path}: {limit} became {new[limit]}"
    for limit in LIMITS_FROM_BELOW:
        if limit in new and new[limit] > old.get(limit, float("-inf")):
            yield f"{path}: {limit} became {new[limit]}"
    if added := set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{path}: now requires {added}"
    if "default" in new and new["default"] != old.get("default"):
        yield f"{path}: default became {new['default']}"
    for name, child in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{path}.{name}: is gone"
        else:
            yield from tightenings(f"{path}.{name}", child, new["properties"][name])
    for inner in ("items", "additionalProperties"):
        if isinstance(old.get(inner), dict):
            yield from tightenings(f"{path}/{inner}", old[inner], new[inner])


@by_kind
@by_version
def test_no_field_of_the_older_operator_is_gone_or_tighter(kind: Kind, version: str) -> None:
    for part in ("spec", "status"):
        before, now = (
            root(older(kind, version))["properties"][part],
            root(definition(kind))["properties"][part],
        )
        assert list(tightenings(part, before, now)) == []
    assert set(root(definition(kind)).get("required", ())) <= set(
        root(older(kind, version)).get("required", ())
    )


@by_kind
@by_version
def test_defaults_of_the_older_operator_stay_but_for_what_a_rig_can_say(kind: Kind, version: str) -> None:
    def defaults(crd: Schema) -> dict[str, Any]:
        return {path: schema["default"] for path, schema in walk(root(crd), "") if "default" in schema}

    before, now = defaults(older(kind, version)), defaults(definition(kind))
    opaque = {path for path in before if ".valueFrom." in path}
    assert {path for path in before if path not in now} - opaque <= DEFAULTED_BY_THE_RIG


@by_kind
@by_version
def test_columns_of_the_older_operator_are_still_shown(kind: Kind, version: str) -> None:
    def columns(crd: Schema) -> set[str]:
        return {column["name"] for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]}

    assert columns(older(kind, version)) <= columns(definition(kind))


@by_kind
def test_names_and_scopes_are_those_of_the_older_operator(kind: Kind) -> None:
    before, now = older(kind, "0.4.2")["spec"], definition(kind)["spec"]
    assert (before["scope"], before["group"]) == (now["scope"], now["group"])
    assert before["names"].items() <= now["names"].items()


@by_kind
@pytest.mark.parametrize("part", ["spec", "status"])
def test_everything_that_is_ours_is_bounded(kind: Kind, part: str) -> None:
    model = next(a.type for a in kind.model.__attrs_attrs__ if a.name == part)
    limit_of = {"string": "maxLength", "array": "maxItems"}
    for path, schema in ours(model, root(definition(kind))["properties"][part], part):
        if schema.get("type") in limit_of and not ("enum" in schema or schema.get("format") == "date-time"):
            assert limit_of[schema["type"]] in schema, path
        if schema.get("x-kubernetes-int-or-string"):
            assert "maxLength" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path


@by_kind
def test_kubectl_explain_has_something_to_say_about_every_field(kind: Kind) -> None:
    for path, schema in walk(root(definition(kind)), ""):
        named = not path.endswith(("[]", "{}")) and path != "metadata"
        assert not named or schema["description"].endswith("."), path


@by_kind
def test_nothing_newer_than_kubernetes_1_26_is_used(kind: Kind) -> None:
    text = yaml.safe_dump(definition(kind))
    for newer in (
        "selectableFields",
        "optionalOldSelf",
        "fieldPath",
        "reason: Field",
        "messageExpression",
        "isQuantity",
    ):
        assert newer not in text


@given(st.from_regex(OLDER_REPOSITORY_PATTERN, fullmatch=True).filter(lambda url: "\n" not in url))
def test_every_repository_of_the_older_operator_still_fits(url: str) -> None:
    assert re.search(REPOSITORY_PATTERN, url)


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("ssh://git@git.lab:2222/srv/a.git", True),
        ("https://git.lab:8443/o/r", True),
        ("http://10.244.0.1:3000/~o/r.git", True),
        ("ssh://-oProxyCommand=x/a", False),
        ("ssh://-x@h/a", False),
        ("file:///srv/a", False),
        ("ext::sh -c id", False),
        ("-x", False),
        ("https://user:secret@h/r", False),
    ],
)
def test_repositories_may_have_ports_but_no_strange_transports(url: str, fits: bool) -> None:
    assert bool(re.search(REPOSITORY_PATTERN, url)) is fits
