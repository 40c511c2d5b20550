"""Reading schemas in tests: the older operator's, ours, and objects that fill every field of one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gastown_operator.api.fields import field_schema, json_name
from gastown_operator.api.kinds import Kind
from gastown_operator.api.schema import Schema

#: They are somebody else's work, so this repository does not hold them.
OLDER = Path(
    os.environ.get("GASTOWN_OLDER_CRDS")
    or Path(__file__).resolve().parents[3] / "shared" / "data" / "older-crds"
)
VERSIONS = ("0.3.2", "0.4.2")

_BY_PATTERN_OF = {
    "gitRepository": "git@github.com:org/repo.git",
    "gitBranch": "main",
    "workBranch": "feature/gt-1",
    "beadsPrefix": "gt",
    "prefix": "gt-",
    "reason": "AsExpected",
    "type": "Ready",
}


def root(crd: Schema) -> Schema:
    """Return the schema of whole objects in a CustomResourceDefinition."""
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def older(kind: Kind, version: str) -> Schema:
    """Return the older operator's CustomResourceDefinition of a kind."""
    if not OLDER.is_dir():
        pytest.skip(
            "the older operator's CRDs are not here: set GASTOWN_OLDER_CRDS to a folder with 0.3.2/ and 0.4.2/"
        )
    crd: Schema = yaml.safe_load((OLDER / version / f"{kind.resource.plural}.yaml").read_text())
    return crd


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield every schema in a schema by its path; `[]` stands for list items, `{}` for map values."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from walk(schema["additionalProperties"], f"{path}{{}}")


def ours(model: Any, schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Yield the schemas of the fields that the older operator did not have, and of what is below them."""
    for attribute in model.__attrs_attrs__:
        name = json_name(attribute)
        child = schema["properties"][name]
        if not field_schema(attribute.metadata).older:
            yield from walk(child, f"{path}.{name}")
        elif hasattr(attribute.type, "__attrs_attrs__"):
            yield from ours(attribute.type, child, f"{path}.{name}")


def at(path: str, value: Any) -> dict[str, Any]:
    """Return the object that has only `value`, at a path as `walk` yields them."""
    head, _, rest = path.partition(".")
    inner = at(rest, value) if rest else value
    while head.endswith(("[]", "{}")):
        inner = [inner] if head.endswith("[]") else {"key": inner}
        head = head[:-2]
    return {head: inner}


def filled(schema: Schema, variant: int = 0, name: str = "") -> Any:
    """Return a value with every field of the schema set; `variant` chooses among the values of enumerations."""
    if "enum" in schema:
        return schema["enum"][variant % len(schema["enum"])]
    if schema.get("x-kubernetes-int-or-string"):
        return ["1", 2, "500m"][variant % 3]
    if schema.get("format") == "date-time":
        return "2026-01-02T03:04:05Z"
    if "properties" in schema:
        return {key: filled(child, variant, key) for key, child in schema["properties"].items()}
    if "additionalProperties" in schema:
        return {"cpu": filled(schema["additionalProperties"], variant)}
    if schema["type"] == "array":
        return [filled(schema["items"], variant)]
    if "pattern" in schema:
        return _BY_PATTERN_OF[name]
    return {"string": f"any {name}", "integer": schema.get("minimum", 7), "boolean": bool(variant % 2)}[
        schema["type"]
    ]


def enumerations(schema: Schema) -> int:
    """Return the length of the longest enumeration in the schema."""
    return max((len(child["enum"]) for _, child in walk(schema, "") if "enum" in child), default=1)
