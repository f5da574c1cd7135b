"""What people type into forms, as the JSON that it means. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from durable_otp.errors import InputRejected
from durable_otp.storage.payloads import ENCODED
from durable_otp.workflow.human_input import PendingInput, value_of


def json_of(text: str, what: str) -> Any:
    """Return the JSON that a text is; None for an empty one.

    Raises:
        ValueError: It is not JSON.
    """
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what} is not JSON: {error}.") from None
    if isinstance(value, str) and ENCODED.fullmatch(value):
        raise ValueError(
            f"{what} is encoded and cannot be read here; give the dashboard the codec, or type "
            "another one."
        )
    return value


def answer_of(asked: PendingInput, form: Mapping[str, Any]) -> Any:
    """Return what a form answers to a question; whether it fits is checked afterwards.

    Raises:
        InputRejected: A choice or a number is none.
    """
    match asked.type:
        case "approval":
            return form.get("answer")
        case "choice":
            return _chosen(asked.choices, form.get("answer"))
        case "multi_choice":
            given = form.get("answer", [])
            return [_chosen(asked.choices, each) for each in _listed(given)]
        case "form":
            fields = asked.fields or []
            return {
                field["name"]: value
                for number, field in enumerate(fields)
                if (value := _field(field, form.get(f"field-{number}"))) is not None
            }
    return form.get("answer", "")


def _listed(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [given]


def _chosen(choices: list[Any] | None, number: Any) -> Any:
    """Return the value of the n-th choice: its position is what travels, not its text."""
    try:
        return value_of((choices or [])[int(number)])
    except (TypeError, ValueError, IndexError):
        raise InputRejected("Choose one of the answers.") from None


def _field(field: Mapping[str, Any], given: Any) -> Any:
    kind = field.get("type", "text")
    if kind == "boolean":
        return given == "true"
    if given is None or given == "":
        return None
    if kind == "number":
        return _number(field["name"], str(given))
    if kind == "select":
        return _chosen(field["options"], given)
    return given


def _number(name: str, text: str) -> Any:
    try:
        value = float(text)
        return int(text) if value.is_integer() and text.lstrip("+-").isdigit() else value
    except (ValueError, OverflowError):
        raise InputRejected(f"Field {name!r} must be a number, not {text!r}.") from None
