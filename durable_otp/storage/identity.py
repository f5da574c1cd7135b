"""Row ids: UUID version 7 (RFC 9562), so that rows made later sort later."""

import os
import time
from uuid import UUID


def new_id() -> str:
    """Return a new UUIDv7 as text; made by the client, so that a write can be repeated safely."""
    milliseconds = time.time_ns() // 1_000_000  # part of a key's layout, never compared as a time
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(UUID(int=value))


def is_id(text: object) -> bool:
    """Return whether something is the text of a whole UUID, dashes included."""
    try:
        return isinstance(text, str) and str(UUID(text)) == text.lower()
    except ValueError:
        return False
