"""What can be asked of people, and which answers fit."""

import pytest

from durable_otp.errors import InputRejected
from durable_otp.workflow.human_input import Question, accepted, question

FIELDS = [
    {"name": "who", "required": True, "label": "Who?"},
    {"name": "age", "type": "number"},
    {"name": "vip", "type": "boolean"},
    {"name": "born", "type": "date"},
    {"name": "size", "type": "select", "options": ["s", {"value": 1, "label": "one"}]},
]
TEXT = question("text", prompt="Why?")
APPROVAL = question("approval")
CHOICE = question("choice", choices=["a", {"value": 1, "label": "one"}, None])
MANY = question("multi_choice", choices=["a", "b", True])
FORM = question("form", fields=FIELDS)


@pytest.mark.parametrize(
    ("asked", "answer", "returned"),
    [
        (TEXT, "", ""),
        (TEXT, "grün", "grün"),
        (APPROVAL, True, "approved"),
        (APPROVAL, False, "rejected"),
        (APPROVAL, "rejected", "rejected"),
        (CHOICE, "a", "a"),
        (CHOICE, 1, 1),
        (CHOICE, None, None),
        (MANY, [], []),
        (MANY, ["b", True], ["b", True]),
        (FORM, {"who": "Ada"}, {"who": "Ada"}),
        (FORM, {"who": "Ada", "age": None, "size": 1}, {"who": "Ada", "age": None, "size": 1}),
        (
            FORM,
            {"who": "Ada", "age": 1.5, "vip": False, "born": "2026-01-31", "size": "s"},
            {"who": "Ada", "age": 1.5, "vip": False, "born": "2026-01-31", "size": "s"},
        ),
    ],
)
def test_an_answer_that_fits_is_returned(asked: Question, answer, returned):
    result = accepted(asked, answer)
    assert result == returned
    assert type(result) is type(returned)


@pytest.mark.parametrize(
    ("asked", "answer", "says"),
    [
        (TEXT, 4, "must be a text, not 4"),
        (TEXT, None, "must be a text"),
        (APPROVAL, "yes", '"approved", "rejected"'),
        (APPROVAL, 1, "not 1"),
        (APPROVAL, None, "not null"),
        (CHOICE, "b", 'one of "a", 1, null'),
        (CHOICE, True, "not true"),
        (CHOICE, ["a"], "one of"),
        (MANY, "a", "must be a list"),
        (MANY, ["a", "c"], '"c" is not'),
        (MANY, [1], "1 is not"),
        (MANY, ["a", "a"], "twice"),
        (FORM, [], "object of fields"),
        (FORM, {}, "'who' is required"),
        (FORM, {"who": "  "}, "'who' is required"),
        (FORM, {"who": 4}, "'who' must be a text"),
        (FORM, {"who": "Ada", "other": 1}, "no field 'other'"),
        (FORM, {"who": "Ada", "age": True}, "'age' must be a number"),
        (FORM, {"who": "Ada", "age": "4"}, "'age' must be a number"),
        (FORM, {"who": "Ada", "vip": 1}, "'vip' must be true or false"),
        (FORM, {"who": "Ada", "born": "31.1.2026"}, "'born' must be a date"),
        (FORM, {"who": "Ada", "born": "20260131"}, "'born' must be a date"),
        (FORM, {"who": "Ada", "born": 20260131}, "'born' must be a date"),
        (FORM, {"who": "Ada", "size": "xl"}, """'size' must be one of "s", 1, not "xl\""""),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_in_a_sentence(asked, answer, says):
    with pytest.raises(InputRejected) as refused:
        accepted(asked, answer)
    assert says in str(refused.value)


def test_a_long_answer_is_not_repeated_whole():
    with pytest.raises(InputRejected) as refused:
        accepted(APPROVAL, "x" * 100_000)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("parts", "error", "says"),
    [
        ({"type": "free_text"}, ValueError, "text, approval, choice"),
        ({"type": None}, ValueError, "None"),
        ({"prompt": 4}, TypeError, "prompt"),
        ({"choices": ["a"]}, ValueError, "takes no choices"),
        ({"fields": FIELDS}, ValueError, "takes no fields"),
        ({"type": "choice"}, TypeError, "needs choices"),
        ({"type": "choice", "choices": []}, ValueError, "empty"),
        ({"type": "choice", "choices": "abc"}, TypeError, "needs choices"),
        ({"type": "choice", "choices": [1, {"value": 1}]}, ValueError, "must differ"),
        ({"type": "form"}, TypeError, "needs fields"),
        ({"type": "form", "fields": ["a"]}, TypeError, "must be an object"),
        ({"type": "form", "fields": [{}]}, ValueError, "name"),
        ({"type": "form", "fields": [{"name": "a\n"}]}, ValueError, "printable"),
        ({"type": "form", "fields": [{"name": "a"}, {"name": "a"}]}, ValueError, "must differ"),
        ({"type": "form", "fields": [{"name": "a", "type": "color"}]}, ValueError, "type among"),
        ({"type": "form", "fields": [{"name": "a", "kind": "text"}]}, ValueError, "keys: kind"),
        ({"type": "form", "fields": [{"name": "a", "required": 1}]}, TypeError, "required"),
        ({"type": "form", "fields": [{"name": "a", "label": 1}]}, TypeError, "label"),
        ({"type": "form", "fields": [{"name": "a", "type": "select"}]}, ValueError, "options"),
        ({"type": "form", "fields": [{"name": "a", "options": [1]}]}, ValueError, "no select"),
    ],
)
def test_a_question_whose_parts_do_not_fit_is_refused(parts, error, says):
    with pytest.raises(error, match=says):
        question(**parts)
