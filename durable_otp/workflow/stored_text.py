"""Texts that nobody has checked, as they are stored: what errors say, and what steps print."""

from collections.abc import Callable

LONGEST_MESSAGE = 8_192


def storable(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text that jsonb can hold: without NUL or lone surrogates, its middle cut out."""
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n... {len(text) - longest} characters left out ...\n{text[-half:]}"


def text_of(value: object, say: Callable[[object], str] = str) -> str:
    """Return what an exception says; one that fails to say it must not take its witness along.

    ``say`` may be ``repr``, for a value that is no exception.
    """
    try:
        return say(value)
    except Exception as failure:  # noqa: BLE001 - user code, which may raise anything
        name = type(value).__name__
        return f"the text of this {name} cannot be had: {type(failure).__name__} was raised instead"
