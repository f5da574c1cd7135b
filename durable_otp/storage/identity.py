"""Row ids: UUID version 7 (RFC 9562), so that rows made later sort later."""

import os
import time
from uuid import UUID

_VARIANT = {digit: "89ab"[number % 4] for number, digit in enumerate("0123456789abcdef")}
_last = 0
"""The time part of the id made last; no two of a process need be told apart by chance."""


def new_id() -> str:
    """Return a new UUIDv7 as text; made by the client, so that a write can be repeated safely.

    Ids of one process sort in the order in which they were made: the 12 bits after the milliseconds
    are the time's next digits, and count on where that stands still. (Two threads at once may make
    equal time parts; the random half tells those apart.)
    """
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """Return so many new ids, in order, as ``new_id`` makes them."""
    global _last  # noqa: PLW0603 - the clock's hand
    # The clock is part of a key here, never compared as a time.
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    first = max(milliseconds << 12 | (rest << 12) // 1_000_000, _last + 1)
    _last = first + count - 1
    digits = os.urandom(8 * count).hex()
    return [
        "%08x-%04x-7%03x-%s%s-%s"  # noqa: UP031 - the cheapest of the ways to write it
        % (
            ticks >> 28,
            ticks >> 12 & 0xFFFF,
            ticks & 0xFFF,
            _VARIANT[digits[at]],
            digits[at + 1 : at + 4],
            digits[at + 4 : at + 16],
        )
        for ticks, at in zip(range(first, first + count), range(0, 16 * count, 16), strict=True)
    ]


def is_id(text: object) -> bool:
    """Return whether something is the text of a whole UUID, dashes included."""
    try:
        return isinstance(text, str) and str(UUID(text)) == text.lower()
    except ValueError:
        return False
