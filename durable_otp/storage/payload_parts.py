"""How payloads lie in the parameters of statements, and the form in which codecs leave them.

Most are one JSON text. Of some a part stays readable, because SQL asks for it: the type of an
error, the level of a line that was printed, which waits there are.
"""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

from durable_otp.errors import CodecError, ConfigError
from durable_otp.storage.codec import PLAIN
from durable_otp.workflow.json_form import decode, encode

NAME, BODY = "$codec", "encoded"
MARK = f'"{NAME}"'
SEPARATOR = "\x1e"
"""Between the texts of a list that is sent as one: no JSON text holds it."""
PLAIN_FACTS = frozenset({"type", "signal", "exit_code", "out_of_memory", "child"})
"""Of an error: what is asked for in SQL, and holds names only."""
CODEC = "codec"
"""What an error has that no user's code can raise: the codec that would not encode."""
QUESTION = ("fields", "choices", "metadata", "timeout_value")
_MARKED_PROMPT = "{" + MARK
_NOT_KEPT = "<this line could not be encoded, so it was not kept>"

Seal = Callable[[str], str]
"""Turns a payload's JSON text into the text that is stored."""


def stored(name: str, data: bytes) -> str:
    """Return the JSON text in which what a codec made is stored."""
    return encode({NAME: name, BODY: b64encode(data).decode()}).decode()


def is_stored(value: dict[str, Any]) -> bool:
    """Return whether an object is the stored form."""
    is_form = value.keys() == {NAME, BODY}
    return is_form and isinstance(value[NAME], str) and isinstance(value[BODY], str)


def may_be_marked(value: Any) -> bool:
    """Return whether a text may hold what looks like the stored form."""
    if isinstance(value, str):
        return NAME in value
    return any(each and NAME in each for each in value)


def sealed(seal: Seal, value: Any) -> Any:
    """Seal one text, or each of a list of them."""
    if isinstance(value, str):
        return seal(value)
    return [None if each is None else seal(each) for each in value]


def _sealed_list(seal: Seal, value: Any) -> Any:
    """Seal the texts of a list, which may be sent as one text; an empty one stands for none."""
    if not isinstance(value, str):
        return sealed(seal, value)
    return SEPARATOR.join([seal(each) if each else each for each in value.split(SEPARATOR)])


def _sealed_value(seal: Seal, value: Any) -> Any:
    return None if value is None else decode(seal(encode(value).decode()))


def _sealed_error(seal: Seal, error: Any) -> Any:
    if not isinstance(error, dict):
        return _sealed_value(seal, error)
    if CODEC in error:  # it tells why nothing could be encoded, and holds names only
        return error
    return {
        key: each if key in PLAIN_FACTS else _sealed_value(seal, each)
        for key, each in error.items()
    }


def _sealed_entry(seal: Seal, entry: dict[str, Any]) -> dict[str, Any]:
    """Seal what was printed; the level is asked for in SQL. It must not cost the step."""
    try:
        return {**entry, "message": _sealed_value(seal, entry["message"])}
    except (CodecError, ConfigError):
        return {**entry, "message": _NOT_KEPT}


def _sealed_wait(seal: Seal, wait: dict[str, Any]) -> dict[str, Any]:
    question = {key: _sealed_value(seal, wait[key]) for key in QUESTION}
    return {**wait, **question, "prompt": _sealed_prompt(seal, wait["prompt"])}


def _sealed_prompt(seal: Seal, prompt: str | None) -> Any:
    """Seal a text whose column is one: there, the stored form is text as well."""
    form = _sealed_value(seal, prompt)
    if isinstance(form, str) and form.startswith(_MARKED_PROMPT):
        return decode(stored(PLAIN, encode(form)))
    return form


def _each(part: Callable[[Seal, Any], Any]) -> Callable[[Seal, str], str]:
    def seal_each(seal: Seal, text: str) -> str:
        return encode([part(seal, each) for each in decode(text)]).decode()

    return seal_each


def _whole(part: Callable[[Seal, Any], Any]) -> Callable[[Seal, str], str]:
    def seal_whole(seal: Seal, text: str) -> str:
        return encode(part(seal, decode(text))).decode()

    return seal_whole


def _sealed_ending(seal: Seal, ending: dict[str, Any]) -> dict[str, Any]:
    return {**ending, "error": _sealed_error(seal, ending["error"])}


SEALS: dict[str, Callable[[Seal, Any], Any]] = {
    "error": _whole(_sealed_error),
    "logs": _each(_sealed_entry),
    "items": _each(_sealed_value),
    "waits": _each(_sealed_wait),
    "endings": _each(_sealed_ending),
    "inputs": _sealed_list,
}
"""The payloads of which a part stays readable, because SQL asks for it; by parameter."""
