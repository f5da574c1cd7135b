"""Payloads as they are stored: encoded and decoded where parameters are bound and rows are read.

A codec turns the JSON text of a payload into bytes and back: it encrypts, compresses, or both. What
it made is stored as ``{"$codec": <its name>, "encoded": <base64>}`` in the place of the payload, so
that it is told apart from plain values and from those of other codecs. A plain value that looks
like that is stored the same way, under the name ``plain``.

Which parameters of a statement are payloads says the line ``-- payload:`` above it; every column
that is JSON is looked at when it is read. Nothing else in this package knows of codecs.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from durable_otp.errors import CodecError, EncodingRefused
from durable_otp.storage.codec import PLAIN, Codec, CodecChoice, by_name, chosen, reason_of
from durable_otp.storage.payload_parts import (
    BODY,
    MARK,
    NAME,
    SEALS,
    is_stored,
    may_be_marked,
    sealed,
    stored,
)
from durable_otp.workflow.json_form import decode

_MARK_BYTES = MARK.encode()
ENCODED = re.compile(r"<encoded by .+: .+>")
"""What is shown in the place of a value that cannot be read."""
_EMPTY = frozenset({"null", "[]", "{}"})

Parameters = Mapping[str, Any]


_DEFECTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, NotImplementedError,
    TypeError, ValueError,
)  # fmt: skip
"""What code raises that is wrong, or that is given what it was not made for."""


class EncodingFailed(CodecError):  # noqa: N818 - reads as the sentence it reports
    """A codec could not encode: nothing was sent, so the same can be tried again.

    ``refused`` is what it becomes when trying again does not help; None where it may always help,
    because something that the codec needs is away.
    """

    def __init__(self, message: str, refused: EncodingRefused | None) -> None:
        super().__init__(message)
        self.refused = refused


class Unreadable(str):
    """What is shown in the place of a value whose codec is not here."""

    __slots__ = ()


class Codecs:
    """The codecs that one process knows, and what they do with statements and rows.

    Those that are given by their ``"module:attribute"`` are imported when first needed.

    Args:
        given: The first encodes, each decodes what bears its name; ``"plain"`` encodes nothing.
        shows: Let what cannot be read be ``Unreadable`` instead of an error.
    """

    def __init__(self, given: CodecChoice = None, *, shows: bool = False) -> None:
        self._given = tuple(chosen(given))
        self.encodes = bool(self._given) and self._given[0] != PLAIN
        self._shows = shows
        self._known: dict[str, Codec] | None = None

    def known(self) -> dict[str, Codec]:
        """Return the codecs by name, the one that encodes first.

        Raises:
            ConfigError: One cannot be imported or is none, or two have one name.
        """
        if self._known is None:
            self._known = by_name(self._given)
        return self._known

    # what is written

    def seal(self, payloads: Sequence[str], given: Parameters) -> Parameters:
        """Return a statement's parameters with its payloads as they are stored.

        Raises:
            EncodingFailed: The codec could not.
        """
        changed: dict[str, Any] = {}
        for name in payloads:
            value = given[name]
            if value is None:
                continue
            if self.encodes or (NAME in value if type(value) is str else may_be_marked(value)):
                changed[name] = SEALS.get(name, sealed)(self.seal_text, value)
        return {**given, **changed} if changed else given

    def seal_text(self, text: str) -> str:
        """Return a payload's JSON text as it is stored."""
        if text in _EMPTY or not (self.encodes or MARK in text):
            return text
        if not self.encodes:
            return stored(PLAIN, text.encode())
        name, codec = next(iter(self.known().items()))
        try:
            made = codec.encode(text.encode())
        except Exception as error:
            is_defect = isinstance(error, _DEFECTS) and not isinstance(error, OSError)
            raise EncodingFailed(
                f"Codec {name!r} could not encode a value ({reason_of(error)}).",
                EncodingRefused(name, type(error).__name__) if is_defect else None,
            ) from error
        if not isinstance(made, bytes):
            kind = type(made).__name__
            raise EncodingFailed(
                f"Codec {name!r} encoded a value as {kind}; let it return bytes.",
                EncodingRefused(name, f"it returned {kind}"),
            )
        return stored(name, made)

    # what is read

    def open(self, text: bytes | str) -> Any:
        """Return the value of JSON text as it is stored.

        Raises:
            CodecError: It is not to be read here.
        """
        value = decode(text)
        if (MARK in text) if type(text) is str else (_MARK_BYTES in text):
            return self._opened(value)
        return value

    def _opened(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._opened(each) for each in value]
        if not isinstance(value, dict):
            return value
        if not is_stored(value):
            return {key: self._opened(each) for key, each in value.items()}
        try:
            return decode(self._decoded(value[NAME], value[BODY]))
        except CodecError as error:
            if not self._shows:
                raise
            return Unreadable(f"<encoded by {value[NAME]}: {error.shown}>")

    def _decoded(self, name: str, body: str) -> bytes:
        codec = self.known().get(name)
        if codec is None and name != PLAIN:
            raise CodecError(
                f"A stored value was encoded by codec {name!r}, which is not known here; give it "
                "as codec, behind the one that is to encode.",
                shown="no codec here",
            )
        try:
            data = b64decode(body, validate=True)
            text = data if codec is None else codec.decode(data)
        except Exception as error:
            raise CodecError(
                f"Codec {name!r} could not decode a stored value ({reason_of(error)}); is its key "
                "the one that it was encoded with?",
                shown="not readable with the codec here",
            ) from error
        if not isinstance(text, bytes):
            raise CodecError(
                f"Codec {name!r} decoded a value as {type(text).__name__}; let it return bytes.",
                shown="not readable with the codec here",
            )
        return text


class Untouched(Codecs):
    """For processes that only move payloads from one place to another: as they are stored.

    What they write of their own is what a worker has printed before it died.
    """

    def seal(self, payloads: Sequence[str], given: Parameters) -> Parameters:
        """Return the parameters with what was printed as it is stored."""
        return super().seal(("logs",), given) if "logs" in payloads else given

    def open(self, text: bytes | str) -> Any:
        """Return the value as it is stored."""
        return decode(text)


def refuse_unreadable(value: Any, what: str) -> None:
    """Refuse to do something with a value that could not be read (CodecError)."""
    if isinstance(value, Unreadable):
        raise CodecError(f"{what} cannot be read here: {value}; give the codec of that name.")


WITHOUT = Codecs()
"""No codec: what others have encoded is refused."""
