"""A proxy that understands PostgreSQL's protocol and breaks things at a chosen statement.

It answers one question about a durable system: what is in the database, and what becomes of it, if
a process or a connection dies exactly here?

Rules are one-shot traps at the k-th matching statement. ``before``: the server never sees it;
``sent``: the server has finished it and nobody was told, as after a commit whose answer is lost;
``after``: the client has the answer, and nothing later has left. Toxics hold until they are healed.
"""

from tests.support.chaos.control import ChaosProxy, Ctl
from tests.support.chaos.rules import ACTIONS, POINTS, TOXICS

__all__ = ["ACTIONS", "POINTS", "TOXICS", "ChaosProxy", "Ctl"]
