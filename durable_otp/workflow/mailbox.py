"""Which waits the events in a mailbox answer. Pure.

An event is consumed by exactly one wait. A wait that was there before an event and one that came
after it are treated alike: the mailbox is looked through in the order of arrival, for one wait
after another in the order of the calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

KINDS = ("event", "any", "all")


@dataclass(frozen=True)
class Event:
    """An event as it lies in the mailbox of an execution, consumed or not."""

    id: str
    execution_id: str
    name: str
    payload: Any
    sent_at: datetime
    consumed_at: datetime | None


@dataclass(frozen=True)
class PendingEvent:
    """An open wait for events; ``kind`` is "single", "any" or "all"."""

    id: str
    execution_id: str
    workflow: str
    step: str
    names: list[str]
    kind: str
    timeout_at: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class EventWait:
    """An open wait for one event, for any of several, or for all of them."""

    id: str
    kind: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Mail:
    """An event that nobody has consumed."""

    id: str
    name: str
    payload: Any


@dataclass(frozen=True)
class Match:
    """A wait that is over: its answer as JSON, and the events it consumes."""

    wait_id: str
    answer: Any
    events: tuple[str, ...]


def matches(waits: Sequence[EventWait], mailbox: Sequence[Mail]) -> list[Match]:
    """Return the waits that are over, given open waits in call order and events as they came.

    A wait for all takes one event of each name, and only when all are there: until then, and
    after its timeout, they are anybody's.
    """
    rest = list(mailbox)
    found = []
    for wait in waits:
        match = _match(wait, rest)
        if match is not None:
            rest = [mail for mail in rest if mail.id not in match.events]
            found.append(match)
    return found


def _match(wait: EventWait, mailbox: Sequence[Mail]) -> Match | None:
    first: dict[str, Mail] = {}
    for mail in mailbox:
        if mail.name in wait.names:
            first.setdefault(mail.name, mail)
    if wait.kind == "all":
        if len(first) < len(wait.names):
            return None
        answer = {name: first[name].payload for name in wait.names}
        return Match(wait.id, answer, tuple(mail.id for mail in first.values()))
    for mail in first.values():  # in the order of arrival
        payload = mail.payload
        answer_of_one = [mail.name, payload] if wait.kind == "any" else payload
        return Match(wait.id, answer_of_one, (mail.id,))
    return None
