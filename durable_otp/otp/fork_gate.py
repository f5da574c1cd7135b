"""While a host starts a root, its other threads fork no copy of it.

A copy that is made in the middle of that keeps what the start is about to close: the end of a pipe,
by whose closing `subprocess` hears that the program has begun, so that the start would last as long
as the copy lives; and the root's end of the link, so that the host would never hear of its end.
(fork(2): the child has copies of all open descriptors, whatever they are marked with for exec.)
"""

import os
import threading

CLOSED = threading.RLock()
"""Held by whoever must not be copied. Reentrant: a signal's handler may fork meanwhile."""

os.register_at_fork(
    before=CLOSED.acquire, after_in_parent=CLOSED.release, after_in_child=CLOSED.release
)
