"""Row ids: UUID version 7 (RFC 9562), so that rows made later sort later."""

import os
import random
import time
from uuid import UUID

_chance = random.Random()  # noqa: S311 - ids are no secrets; our own: a step may seed the global one
os.register_at_fork(after_in_child=_chance.seed)
_last = 0
"""The time part of the id made last; no two of a process need be told apart by chance."""


def new_id() -> str:
    """Return a new UUIDv7 as text; made by the client, so that a write can be repeated safely.

    Ids of one process sort in the order in which they were made: the 12 bits after the milliseconds
    are the time's next digits, and count on where that stands still. (Two threads at once may make
    equal time parts; the random half tells those apart.)
    """
    global _last  # noqa: PLW0603 - the clock's hand
    milliseconds, rest = divmod(
        time.time_ns(), 1_000_000
    )  # part of a key, never compared as a time
    _last = last = max(milliseconds << 12 | (rest << 12) // 1_000_000, _last + 1)
    low = 0b10 << 62 | _chance.getrandbits(62)
    high, tail = f"{last >> 12:012x}", f"{low:016x}"
    return f"{high[:8]}-{high[8:]}-7{last & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"


def is_id(text: object) -> bool:
    """Return whether something is the text of a whole UUID, dashes included."""
    try:
        return isinstance(text, str) and str(UUID(text)) == text.lower()
    except ValueError:
        return False
