"""A workflow's input type as a form: its fields, what is typed into them, and what is refused."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from durable_otp import Workflow
from durable_otp.dashboard.json_view import HIDDEN
from durable_otp.dashboard.rendering import environment
from durable_otp.dashboard.schema_form import filled, problems_of, read, sentence_of
from durable_otp.dashboard.schema_shape import shape_of
from durable_otp.workflow.input_type import json_schema
from tests.support.dashboard import HOSTILE, Parcel, Size
from tests.support.waiting import wait_until

SHAPE = shape_of(json_schema(Parcel))
FORM = {
    "field/weight": "30",
    "field/to/city": "Bonn",
    "field/to/zip": "",
    "field/size": "1",
    "field/fragile": "true",
    "field/price": "1.10",
    "field/pickup": "2026-01-31",
    "field/labels": ["a", "", "b"],
    "field/extras": '{"gift": 1}',
    "field/api_key": "k",
}
MEANT = {
    "weight": 30,
    "to": {"city": "Bonn"},
    "size": "l",
    "fragile": True,
    "price": "1.10",
    "pickup": "2026-01-31",
    "labels": ["a", "b"],
    "extras": {"gift": 1},
    "api_key": "k",
}


def member(shape, key):
    return next(each for each in shape.members if each.key == key)


def test_a_type_has_a_field_of_the_right_kind_for_each_of_its_own_in_their_order():
    kinds = {each.key: each.kind for each in SHAPE.members}
    assert list(kinds) == list(Parcel.model_fields)
    assert kinds == {
        "weight": "integer",
        "to": "group",
        "back_to": "group",
        "size": "select",
        "fragile": "checkbox",
        "price": "decimal",
        "pickup": "date",
        "labels": "list",
        "extras": "json",
        "api_key": "password",
    }
    labels = [member(SHAPE, key).label for key in ("weight", "to", "back_to", "size")]
    assert labels == ["Weight", "To", "Back to", "Size"]
    assert [each.key for each in SHAPE.members if each.required] == ["weight", "to"]


def test_what_is_typed_becomes_the_value_that_the_type_takes():
    value = read(SHAPE, FORM)
    assert value == MEANT
    assert problems_of(SHAPE, value) == {}
    parcel = TypeAdapter(Parcel).validate_python(value)
    assert (parcel.size, parcel.back_to, str(parcel.price)) == (Size.LARGE, None, "1.10")


def test_what_is_wrong_is_said_by_field_in_one_sentence_each():
    wrong = {"field/weight": "51", "field/back_to/zip": "1", "field/extras": "{", "field/size": "9"}
    value = read(SHAPE, {**FORM, **wrong, "field/to/city": "", "field/pickup": "soon"})
    problems = problems_of(SHAPE, value)
    assert problems == {
        "field/weight": "“Weight” must be 50 or less, not 51.",
        "field/to/city": "“City” is required.",
        "field/back_to/city": "“City” is required.",
        "field/size": "“Size” must be one of the choices, not '9'.",
        "field/pickup": "“Pickup” must be a date, such as 2026-01-31, not 'soon'.",
        "field/extras": "“Extras” must be JSON, not '{'.",
    }
    assert sentence_of(problems).endswith("(and 1 more)")
    assert problems_of(SHAPE, read(SHAPE, {**FORM, "field/weight": "x"})) == {
        "field/weight": "“Weight” must be a whole number, not 'x'."
    }


def test_a_value_that_is_filled_in_is_read_again_as_it_was():
    def sent(field):
        shape = field.shape
        found = {}
        for each in field.members:
            found |= sent(each)
        if shape.kind == "checkbox":
            return {shape.name: "true"} if field.on else {}
        if shape.kind == "list":
            return {shape.name: [*field.texts, ""]}
        if shape.kind == "select":
            return {shape.name: "" if field.chosen is None else str(field.chosen)}
        return found if shape.kind == "group" else {shape.name: field.text}

    assert read(SHAPE, sent(filled(SHAPE, MEANT))) == MEANT
    begun = read(SHAPE, sent(filled(SHAPE, {})))
    assert begun["size"] == "s"  # its default
    assert set(problems_of(SHAPE, begun)) == {"field/weight", "field/to/city"}


@dataclass
class Point:
    x: int
    y: float | None


class Tree(BaseModel):
    word: Literal["a", 1] | None
    flag: bool | None
    many: list[Point] = []
    either: int | str = 0
    left: "Tree | None" = None
    numbers: list[int] = Field(default=[1], max_length=2)
    odd_name: str = Field(default="", alias="odd/na~me")


def test_dataclasses_recursion_unions_and_nulls_have_a_form_too():
    point = shape_of(json_schema(Point))
    assert read(point, {"field/x": "1"}) == {"x": 1, "y": None}
    tree = shape_of(json_schema(Tree))
    assert {member(tree, key).kind for key in ("many", "either")} == {"json"}
    assert member(tree, "flag").choices == (True, False)
    value = read(tree, {"field/word": "1", "field/numbers": ["1", "2", "3"]})
    assert value == {"word": 1, "flag": None, "numbers": [1, 2, 3]}
    assert list(problems_of(tree, value).values()) == ["“Numbers” may have 2 entries, not 3."]
    assert problems_of(tree, read(tree, {"field/word": "0", "field/numbers": "x"}))


@pytest.mark.parametrize("kind", [None, int, list[int], dict[str, int], str])
def test_what_is_no_object_has_no_fields(kind):
    assert shape_of(json_schema(kind)) is None


def test_a_type_without_a_schema_is_published_all_the_same():
    class Odd(BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        how: object = Field(default_factory=object)
        what: type[int] | None = None

    class Handle:
        pass

    class Impossible(BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        handle: Handle

    assert json_schema(Impossible) is None
    odd = Workflow("odd", input=Impossible)

    @odd.step
    def act(ctx):
        pass

    assert "input_schema" not in odd.definition().description()


SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("#/$defs/a"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([
                "type", "properties", "items", "anyOf", "$ref", "enum", "default", "title",
                "required", "minimum", "x-order", "format", "a",
            ]),
            inner | st.sampled_from(["object", "array", "string", "integer", "boolean"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(SCHEMAS, SCHEMAS, st.dictionaries(st.just("field/a"), st.text(max_size=4)))
@settings(max_examples=30)
def test_no_schema_breaks_a_page(part, value, form):
    schema = {"type": "object", "properties": {"a": part}, "$defs": {"a": part}}
    shape = shape_of(schema)
    if shape is not None:
        problems_of(shape, read(shape, form))
        problems_of(shape, value)
        page = environment().get_template("schema_form.html").module
        assert str(page.fields_of(filled(shape, {"a": value}, problems_of(shape, value)))).strip()


def started(site, **fields):
    """Send the form; return the page it leads to and its address."""
    answer = site.send("/workflows/typed/start", **fields)
    path = answer.headers["location"].removeprefix(site.base)
    return path, site.page(path)


def test_a_workflow_is_started_by_the_fields_of_its_type(site, tree):
    page = site.page("/workflows/typed")
    for name in FORM:
        assert f'name="{name}"' in page
    assert "In kilograms." in page
    assert 'name="as" value="json" formnovalidate' in page
    path, _ = started(site, **{"as": "fields", **FORM})
    id_ = path.rpartition("/")[2]
    ended = lambda: tree.durable.get_execution(id_).output  # noqa: E731
    assert wait_until(ended, timeout=60, what="its end")["city"] == "Bonn"
    again = site.page(f"/workflows/typed?like={id_}")
    assert 'value="Bonn"' in again
    assert f'value="{HIDDEN}"' in again
    assert 'value="k"' not in again
    path, _ = started(site, **{"as": "fields", **FORM, "field/api_key": HIDDEN, "like": id_})
    assert tree.durable.get_execution(path.rpartition("/")[2]).input == MEANT


def test_a_form_that_is_refused_comes_back_filled_in_with_the_reason_at_the_field(site, tree):
    before = tree.durable.count_executions("typed")
    fields = {**FORM, "field/weight": "99", "field/to/city": HOSTILE, "field/price": "much"}
    path, page = started(site, **{"as": "fields", **fields})
    assert tree.durable.count_executions("typed") == before
    assert page.count("must be 50 or less, not 99.") == 2  # above the page, and at the field
    assert 'aria-invalid="true" aria-describedby="field_2f_weight-told"' in page
    assert "<script>alert" not in page
    assert 'value="99"' in page
    assert 'value="a"' in page
    assert "api_key" not in unquote_plus(path)
    assert "is required" in started(site, **{"as": "fields"})[1]


def test_json_may_be_sent_instead_of_the_fields(site, tree):
    path, _ = started(site, **{"as": "json", "input": '{"weight": 1, "to": {"city": "Ulm"}}'})
    id_ = path.rpartition("/")[2]
    assert re.fullmatch(r"[0-9a-f-]{36}", id_)
    assert "is not JSON" in started(site, **{"as": "json", "input": "{"})[1]
