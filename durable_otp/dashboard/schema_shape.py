"""A JSON schema as the fields of a form: what each is, and what may be typed into it. Pure.

What a form cannot show well (a union, a mapping, a list of objects, what is nested too deep) is one
field of JSON, so that every schema of an object has a form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from durable_otp.dashboard.json_view import SECRET

DEEPEST = 4
MOST_FIELDS = 200
MISSING: Any = object()
_ROOT = "field"
_TEXTS = {"date": "date", "time": "time", "date-time": "instant", "uuid": "uuid"}
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength",
            "minItems", "maxItems")  # fmt: skip
_SINGLE = frozenset(
    {"text", "number", "integer", "decimal", "select", "date", "time", "instant", "uuid"}
)


@dataclass(frozen=True)
class Shape:
    """One field of a form.

    Attributes:
        name: How the form sends it: the path to it.
        key: Its key in the object that it is in.
        kind: text, password, number, integer, decimal, checkbox, select, date, time, instant, uuid,
            json; ``group`` has members, ``list`` has one, of which every entry is.
        needed: Whether it has to be there where the object that it is in is.
        required: Whether it has to be there.
        nullable: Whether null is one of its values.
        optional: Whether its whole is left out when nothing is typed.
        default: What it is where it is left out; ``MISSING`` if there is nothing.
        choices: The values of a select.
        limits: The schema's own words for what a value must be, such as ``minimum``.
    """

    name: str
    key: str
    label: str
    kind: str
    hint: str = ""
    needed: bool = False
    required: bool = False
    nullable: bool = False
    optional: bool = False
    default: Any = MISSING
    choices: tuple[Any, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    members: tuple["Shape", ...] = ()

    @property
    def item(self) -> "Shape":
        """What every entry of a list is."""
        return self.members[0]


def shape_of(schema: Any) -> Shape | None:
    """Return the form of a schema; None where it is not of an object, or has too many fields."""
    if not isinstance(schema, dict):
        return None
    definitions = schema.get("$defs")
    reader = _Reader(definitions if isinstance(definitions, dict) else {})
    found = reader.shape(schema, _ROOT, "", required=True, optional=False, depth=0)
    return found if found.kind == "group" and reader.count <= MOST_FIELDS else None


class _Reader:
    """Reads one schema; ``count`` grows with its fields."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self.count = 0

    def shape(
        self, schema: Any, name: str, key: str, *, required: bool, optional: bool, depth: int
    ) -> Shape:
        """Return the field of a schema under a name."""
        self.count += 1
        own = schema if isinstance(schema, dict) else {}
        schema, nullable = self._plain(schema)
        default = schema.get("default", MISSING)
        is_left_out = optional or nullable or (not required and default in (MISSING, None))
        kind, choices = self._kind(schema, key, optional=is_left_out)
        members: tuple[Shape, ...] = ()
        if kind == "group" and (depth >= DEEPEST or self.count > MOST_FIELDS):
            kind = "json"
        if kind == "group":
            members = self._members(schema, name, optional=is_left_out, depth=depth)
        if kind == "list":
            item = self.shape(
                schema["items"], name, key, required=False, optional=False, depth=DEEPEST
            )
            kind, members = ("list", (item,)) if item.kind in _SINGLE else ("json", ())
        return Shape(
            name=name,
            key=key,
            label=_label(own, key),
            kind=kind,
            hint=str(own.get("description") or "")[:300] if key else "",
            needed=required,
            required=required and not optional and not nullable,
            nullable=nullable,
            optional=is_left_out,
            default=MISSING if kind == "password" else default,
            choices=choices,
            limits=_limits(schema),
            members=members,
        )

    def _members(
        self, schema: Mapping[str, Any], name: str, *, optional: bool, depth: int
    ) -> tuple[Shape, ...]:
        properties = schema["properties"]
        said = [key for key in _listed(schema.get("x-order")) if isinstance(key, str)]
        order = list(dict.fromkeys([*(key for key in said if key in properties), *properties]))
        needed = _listed(schema.get("required"))
        return tuple(
            self.shape(
                properties[key],
                f"{name}/{key.replace('~', '~0').replace('/', '~1')}",
                key,
                required=key in needed,
                optional=optional,
                depth=depth + 1,
            )
            for key in order
        )

    def _plain(self, schema: Any) -> tuple[dict[str, Any], bool]:
        """Return a schema with its reference followed, and whether it may be null as well."""
        nullable = False
        for _ in range(DEEPEST * 2):
            if not isinstance(schema, dict):
                return {}, nullable
            above = {key: value for key, value in schema.items() if key not in ("$ref", "$defs")}
            inner: Any = None
            if "$ref" in schema:
                inner = self._definitions.get(str(schema["$ref"]).removeprefix("#/$defs/"))
            elif isinstance(schema.get("anyOf"), list):
                kinds = [each for each in schema["anyOf"] if each != {"type": "null"}]
                nullable = nullable or len(kinds) < len(schema["anyOf"])
                if len(kinds) == 1:
                    inner = kinds[0]
                    above.pop("anyOf")
            elif isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1:
                inner = schema["allOf"][0]
                above.pop("allOf")
            if not isinstance(inner, dict):
                return schema, nullable
            schema = {**inner, **above}
        return {}, nullable

    def _kind(
        self, schema: Mapping[str, Any], key: str, *, optional: bool
    ) -> tuple[str, tuple[Any, ...]]:
        """Return a field's kind, and the choices of a select."""
        choices = [schema["const"]] if "const" in schema else _listed(schema.get("enum"))
        kind = schema.get("type")
        if choices:
            return "select", tuple(choices)
        if kind == "boolean":
            return ("select", (True, False)) if optional else ("checkbox", ())
        is_secret = schema.get("format") == "password" or bool(SECRET.search(key))
        if kind in ("string", "integer", "number") and is_secret:
            return "password", ()
        if kind == "string":
            return _TEXTS.get(str(schema.get("format")), "text"), ()
        return _plain_kind(schema, kind), ()


def _label(own: Mapping[str, Any], key: str) -> str:
    """Return what a field is called: by itself, not by the type that it refers to."""
    title = own.get("title")
    return title if isinstance(title, str) and title else key.replace("_", " ").capitalize()


def _plain_kind(schema: Mapping[str, Any], kind: Any) -> str:
    if kind in ("integer", "number"):
        return str(kind)
    properties = schema.get("properties")
    if kind == "object" and isinstance(properties, dict) and properties:
        return "group"
    if kind == "array" and isinstance(schema.get("items"), dict):
        return "list"
    return "decimal" if _is_decimal(schema) else "json"


def _limits(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a schema limits its values, as far as it is what it has to be."""
    found = {
        key: schema[key]
        for key in _NUMBERS
        if isinstance(schema.get(key), int | float) and not isinstance(schema[key], bool)
    }
    texts = {key: schema[key] for key in ("pattern", "type") if isinstance(schema.get(key), str)}
    return found | texts


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_decimal(schema: Mapping[str, Any]) -> bool:
    """Return whether it is a number that may be a text, so that nothing of it is lost."""
    either = schema.get("anyOf")
    if not isinstance(either, list) or len(either) > 3:  # noqa: PLR2004 - number, string, null
        return False
    kinds = [each.get("type") for each in either if isinstance(each, dict)]
    return sorted(str(kind) for kind in kinds if kind != "null") == ["number", "string"]
