"""What a person can be asked, and whether an answer is one. Pure.

A question has a type; choices and form fields belong to some types only. Both are JSON, so that a
page or a command line can show them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from durable_otp.errors import InputRejected
from durable_otp.workflow.json_form import canonical, encode

TYPES = ("text", "approval", "choice", "multi_choice", "form")
FIELD_TYPES = ("text", "number", "boolean", "date", "select")
APPROVED, REJECTED = "approved", "rejected"
_FIELD_KEYS = {"name", "type", "label", "required", "options"}
_SHOWN = 80  # characters of an answer in a message


@dataclass(frozen=True)
class Question:
    """What a person is asked.

    Attributes:
        type: One of ``TYPES``.
        prompt: A text for the person.
        fields: Of a form: ``{"name", "type", "label", "required", "options"}`` each.
        choices: Of a choice: values, or ``{"value", "label"}``.
        metadata: Anything, for whoever shows the question.
    """

    type: str = "text"
    prompt: str | None = None
    fields: list[dict[str, Any]] | None = None
    choices: list[Any] | None = None
    metadata: Any = None


@dataclass(frozen=True)
class PendingInput:
    """A question that a waiting execution has put and nobody has answered yet."""

    id: str
    execution_id: str
    workflow: str
    step: str
    name: str
    type: str
    prompt: str | None
    fields: list[dict[str, Any]] | None
    choices: list[Any] | None
    metadata: Any
    timeout_at: datetime | None
    created_at: datetime


def question(
    type: Any = "text",  # noqa: A002 - the contract's name
    *,
    prompt: Any = None,
    fields: Any = None,
    choices: Any = None,
    metadata: Any = None,
) -> Question:
    """Return a question whose parts fit each other, in JSON form.

    Raises:
        TypeError: A part is of the wrong type.
        ValueError: A part is missing, not for this type, or names what there is not.
    """
    if type not in TYPES:
        raise ValueError(f"An input's type must be one of {', '.join(TYPES)}, not {type!r}.")
    if prompt is not None and not isinstance(prompt, str):
        raise TypeError(f"An input's prompt must be a text, not {prompt!r:.80}.")
    has_choices = type in ("choice", "multi_choice")
    return Question(
        type,
        canonical(prompt, what="prompt"),
        _only_for(fields, "fields", wanted=type == "form", type=type, check=_fields),
        _only_for(choices, "choices", wanted=has_choices, type=type, check=_choices),
        canonical(metadata, what="metadata"),
    )


def accepted(asked: Question, answer: Any) -> Any:
    """Return an answer, a JSON value, as the wait will return it.

    Raises:
        InputRejected: It does not answer this question.
    """
    return _ACCEPT[asked.type](asked, answer)


def value_of(choice: Any) -> Any:
    """Return the value of a choice that is one, or has one beside its label."""
    return choice["value"] if isinstance(choice, Mapping) and "value" in choice else choice


# questions


def _only_for(
    part: Any,
    what: str,
    *,
    wanted: bool,
    type: str,  # noqa: A002 - as above
    check: Callable[[Sequence[Any], str], list[Any]],
) -> list[Any] | None:
    if not wanted:
        if part is not None:
            raise ValueError(f"An input of type {type!r} takes no {what}.")
        return None
    if part is None or isinstance(part, str | Mapping) or not isinstance(part, Sequence):
        raise TypeError(f"An input of type {type!r} needs {what}, a list, not {part!r:.80}.")
    if not part:
        raise ValueError(f"An input of type {type!r} needs {what}; the list is empty.")
    return check(canonical(part, what=what), what)


def _choices(choices: Sequence[Any], what: str) -> list[Any]:
    texts = [encode(value_of(choice)) for choice in choices]
    if len(set(texts)) < len(texts):
        raise ValueError(f"The values of {what} must differ: {choices!r:.200}.")
    return list(choices)


def _fields(fields: Sequence[Any], what: str) -> list[Any]:
    names = [_field(field) for field in fields]
    if len(set(names)) < len(names):
        raise ValueError(f"The names of {what} must differ: {', '.join(names)}.")
    return list(fields)


def _field(field: Any) -> str:
    if not isinstance(field, dict):
        raise TypeError(f'A field must be an object such as {{"name": ...}}, not {field!r:.80}.')
    name = field.get("name")
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ValueError(f"A field's name must be a printable text, not {name!r:.80}.")
    unknown = sorted(field.keys() - _FIELD_KEYS)
    if unknown:
        raise ValueError(f"Field {name!r} has unknown keys: {', '.join(unknown)}.")
    if field.get("type", "text") not in FIELD_TYPES:
        raise ValueError(
            f"Field {name!r} must have a type among {', '.join(FIELD_TYPES)}, "
            f"not {field['type']!r:.80}."
        )
    _check_field_parts(name, field)
    return name


def _check_field_parts(name: str, field: dict[str, Any]) -> None:
    if not isinstance(field.get("required", False), bool):
        raise TypeError(f"Field {name!r}: required must be true or false.")
    if not isinstance(field.get("label", ""), str | None):
        raise TypeError(f"Field {name!r}: label must be a text.")
    is_select = field.get("type") == "select"
    if not is_select and field.get("options") is not None:
        raise ValueError(f"Field {name!r} is no select and takes no options.")
    if is_select:
        options = field.get("options")
        if not isinstance(options, list) or not options:
            raise ValueError(f"Field {name!r} is a select and needs options, a list.")
        _choices(options, f"options of field {name!r}")


# answers


def _text(_asked: Question, answer: Any) -> str:
    if not isinstance(answer, str):
        raise InputRejected(f"The answer must be a text, not {_shown(answer)}.")
    return answer


def _approval(_asked: Question, answer: Any) -> str:
    if isinstance(answer, bool):
        return APPROVED if answer else REJECTED
    if answer in (APPROVED, REJECTED):
        return str(answer)
    raise InputRejected(
        f'The answer must be "{APPROVED}", "{REJECTED}", true or false, not {_shown(answer)}.'
    )


def _choice(asked: Question, answer: Any) -> Any:
    if not _is_among(answer, asked.choices):
        raise InputRejected(
            f"The answer must be one of {_listed(asked.choices)}, not {_shown(answer)}."
        )
    return answer


def _multi_choice(asked: Question, answer: Any) -> list[Any]:
    if not isinstance(answer, list):
        raise InputRejected(f"The answer must be a list of choices, not {_shown(answer)}.")
    for each in answer:
        if not _is_among(each, asked.choices):
            raise InputRejected(
                f"Each choice must be one of {_listed(asked.choices)}; {_shown(each)} is not."
            )
    if len({encode(each) for each in answer}) < len(answer):
        raise InputRejected(f"The answer names a choice twice: {_shown(answer)}.")
    return answer


def _form(asked: Question, answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise InputRejected(f"The answer must be an object of fields, not {_shown(answer)}.")
    fields = {field["name"]: field for field in asked.fields or ()}
    unknown = [name for name in answer if name not in fields]
    if unknown:
        raise InputRejected(
            f"The form has no field {unknown[0]!r:.80}; its fields are {', '.join(fields)}."
        )
    for name, field in fields.items():
        _check_answered(name, field, answer.get(name))
    return answer


def _check_answered(name: str, field: dict[str, Any], value: Any) -> None:
    if value is None or (isinstance(value, str) and not value.strip()):
        if field.get("required"):
            raise InputRejected(f"Field {name!r} is required.")
        if value is None:
            return
    kind = field.get("type", "text")
    fits, needed = _FITS[kind]
    if not fits(value, field):
        if kind == "select":
            needed = f"one of {_listed(field.get('options'))}"
        raise InputRejected(f"Field {name!r} must be {needed}, not {_shown(value)}.")


def _is_number(value: Any, _field: dict[str, Any]) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(value: Any, _field: dict[str, Any]) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_among(value: Any, choices: Sequence[Any] | None) -> bool:
    """Return whether a value is that of a choice: the same JSON, so that true is not 1."""
    return encode(value) in {encode(value_of(choice)) for choice in choices or ()}


def _listed(choices: Sequence[Any] | None) -> str:
    return ", ".join(_in_line(value_of(choice)) for choice in choices or ())


def _shown(answer: Any) -> str:
    text = _in_line(answer)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _in_line(value: Any) -> str:
    """Return JSON that a message can show: what would break its line or hide is escaped."""
    text = encode(value).decode()
    return text if text.isprintable() else json.dumps(value)


_ACCEPT: dict[str, Callable[[Question, Any], Any]] = {
    "text": _text,
    "approval": _approval,
    "choice": _choice,
    "multi_choice": _multi_choice,
    "form": _form,
}
_FITS: dict[str, tuple[Callable[[Any, dict[str, Any]], bool], str]] = {
    "text": (lambda value, _field: isinstance(value, str), "a text"),
    "number": (_is_number, "a number"),
    "boolean": (lambda value, _field: isinstance(value, bool), "true or false"),
    "date": (_is_date, "a date such as 2026-01-31"),
    "select": (lambda value, field: _is_among(value, field.get("options")), ""),
}
