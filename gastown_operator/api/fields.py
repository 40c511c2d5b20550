"""How an attrs class says what its CustomResourceDefinition should say.

Values carry their constraints in the type (`Annotated[str, Constraint(max_length=63)]`), fields carry description, default and list
type in `metadata=doc(…)`. `schema.py` turns both into OpenAPI, `codec.py` reads only the JSON names.

Fields of the older operator are marked `older=True`: they keep exactly the constraints written here, because
objects stored under its CRDs must stay valid. Every other field is bounded, if need be by the defaults of `schema.py`.
"""

from collections.abc import Mapping
from typing import Any, Final

from attrs import Attribute, asdict, frozen

_METADATA_KEY: Final = "gastown.io/schema"
_INITIALISMS: Final = frozenset({"url", "uid", "id", "usd"})


@frozen(kw_only=True)
class Constraint:
    """JSON Schema keywords of a value, for use in `Annotated`.

    `int_or_string` accepts both JSON types, as Kubernetes' quantities do; `opaque` accepts an object of any shape.
    """

    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    format: str | None = None
    int_or_string: bool = False
    opaque: bool = False

    def keywords(self) -> dict[str, Any]:
        """Return the keywords that are set, by their JSON Schema names."""
        values = asdict(
            self, filter=lambda attribute, value: attribute.type is not bool and value is not None
        )
        return {camel_case(name): value for name, value in values.items()}


@frozen
class Rule:
    """A CEL validation rule: `message` is what the user reads when `rule` is false."""

    rule: str
    message: str


IMMUTABLE: Final = Rule("self == oldSelf", "is immutable; delete the object and create it anew")


@frozen(kw_only=True)
class ObjectSchema:
    """What a class says about its object as a whole, in a class variable named `SCHEMA`."""

    map_type: str | None = None
    rules: tuple[Rule, ...] = ()


@frozen(kw_only=True)
class FieldSchema:
    """What a field says about itself; built by `doc`."""

    description: str
    name: str | None = None
    older: bool = False
    required: bool = False
    server_default: bool = False
    list_type: str | None = None
    list_map_keys: tuple[str, ...] = ()
    min_items: int | None = None
    max_items: int | None = None
    max_properties: int | None = None
    rules: tuple[Rule, ...] = ()


def doc(
    description: str,
    *,
    name: str | None = None,
    older: bool = False,
    required: bool = False,
    server_default: bool = False,
    list_type: str | None = None,
    list_map_keys: tuple[str, ...] = (),
    min_items: int | None = None,
    max_items: int | None = None,
    max_properties: int | None = None,
    rules: tuple[Rule, ...] = (),
) -> dict[str, Any]:
    """Return the `metadata` of an attrs field of an API class.

    Args:
        description: What `kubectl explain` shows.
        name: The JSON name, where camel case of the attribute's name is not it.
        older: The field exists in the older operator's CRDs; it and what is below it get no bounds but those spelled out.
        required: The schema requires the field although the class has a default, so that an object stored without it
            can still be read. A field without default is always required.
        server_default: The API server stores the attribute's default.
        list_type: `set`, `map` or `atomic`.
        list_map_keys: The keys of a list of type `map`.
        min_items: Least number of list elements.
        max_items: Greatest number of list elements.
        max_properties: Greatest number of map entries.
        rules: CEL rules on the field's value.
    """
    schema = FieldSchema(
        description=description,
        name=name,
        older=older,
        required=required,
        server_default=server_default,
        list_type=list_type,
        list_map_keys=list_map_keys,
        min_items=min_items,
        max_items=max_items,
        max_properties=max_properties,
        rules=rules,
    )
    return {_METADATA_KEY: schema}


def field_schema(metadata: Mapping[Any, Any]) -> FieldSchema:
    """Return what `doc` put into an attribute's metadata. Raises KeyError for an undocumented attribute."""
    schema: FieldSchema = metadata[_METADATA_KEY]
    return schema


def json_name(attribute: "Attribute[Any]") -> str:
    """Return the attribute's name in JSON: the documented one, else camel case with Kubernetes' initialisms."""
    schema: FieldSchema | None = attribute.metadata.get(_METADATA_KEY)
    return schema.name if schema and schema.name else camel_case(attribute.name)


def camel_case(name: str) -> str:
    """Turn `git_secret_ref` into `gitSecretRef` and `max_cost_usd` into `maxCostUSD`."""
    first, *rest = name.split("_")
    return first + "".join(word.upper() if word in _INITIALISMS else word.capitalize() for word in rest)
