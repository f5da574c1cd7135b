"""What a codec is, and finding the one that somebody has named."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, TypeAlias, runtime_checkable

from durable_otp.errors import ConfigError, text_of

PLAIN = "plain"
"""Names no codec: what bears it is stored as it is."""
LONGEST_NAME = 60


@runtime_checkable
class Codec(Protocol):
    """Turns the JSON text of payloads into bytes for the database, and back.

    It is called in every process and any thread, so it keeps no connection and no lock. What it
    raises, or gives that is not ``bytes``, becomes a ``CodecError``.
    """

    @property
    def name(self) -> str:
        """What is stored with every value, to find the codec that reads it.

        1 to 60 printable characters; another key needs another name.
        """
        ...

    def encode(self, data: bytes) -> bytes:
        """Return what is to be stored for a JSON text."""
        ...

    def decode(self, data: bytes) -> bytes:
        """Return the JSON text of what was stored."""
        ...


CodecChoice: TypeAlias = Codec | str | Sequence[Codec | str] | None
"""A codec or its ``"module:attribute"``; of several, the first encodes and all decode."""


def chosen(given: CodecChoice) -> list[Codec | str]:
    """Return what was given as codecs, each checked as far as it can be without an import.

    Raises:
        ConfigError: It is neither a codec nor the name of one.
    """
    if given is None:
        return []
    codecs: list[Codec | str] = (
        [*given] if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    )
    for each in codecs:
        if not isinstance(each, str):
            _checked(each, f"codec {type(each).__name__}")
        elif each != PLAIN and not all(each.partition(":")):
            raise ConfigError(f'codec {each!r} must be "module:attribute".')
    return codecs


def by_name(given: Sequence[Codec | str]) -> dict[str, Codec]:
    """Return codecs by their names; those that are given as ``"module:attribute"`` are imported.

    Raises:
        ConfigError: One cannot be imported or is none, or two have one name.
    """
    known: dict[str, Codec] = {}
    for codec in (_loaded(each) for each in given if each != PLAIN):
        if codec.name in known:
            raise ConfigError(
                f"Two codecs have the name {codec.name!r}; give every key a name of its own."
            )
        known[codec.name] = codec
    return known


def reason_of(error: Exception) -> str:
    """Return what a codec or its module has raised, on one line."""
    text = " ".join(text_of(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _loaded(given: Codec | str) -> Codec:
    if not isinstance(given, str):
        return given
    module_name, _, attribute = given.partition(":")
    try:
        found: Any = import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # noqa: BLE001 - whatever a module raises
        raise ConfigError(
            f'codec {given!r} cannot be found ({reason_of(error)}); write "module:attribute".'
        ) from None
    return _checked(found, f"codec {given!r}")


def _checked(codec: Any, what: str) -> Codec:
    if isinstance(codec, type) or not isinstance(codec, Codec):
        raise ConfigError(
            f"{what} is no codec: it needs a name, encode(data) and decode(data), as "
            "durable_otp.Codec has them."
        )
    name = codec.name
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ConfigError(
            f"{what} has the name {name!r}; it must be 1 to {LONGEST_NAME} printable characters."
        )
    if name == PLAIN:
        raise ConfigError(f"{what} has the name {PLAIN!r}, which stands for no codec; use another.")
    return codec
