"""What the demo starts, how often, and with which input."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CARDS = ("4000 0001", "4000 0002", "4000 0004")  # two, none and one outage: every payment succeeds
TEXTS = (
    "A quiet word about gardens",
    "This casino is fine",
    "SCAM, casino and scam: http://a http://b",
    "A scam?",
)
FAILED_ORDERS = 6
"""Every so many orders cannot be shipped, and are undone."""


@dataclass(frozen=True)
class Feed:
    """A workflow that is started every so many seconds; ``given`` makes the n-th input."""

    workflow: str
    seconds: float
    given: Callable[[int], Any]


def _order(number: int) -> dict[str, Any]:
    prices = [random.randint(1, 90) for _ in range(random.randint(1, 4))]  # noqa: S311 - a price
    return {
        "items": [{"price": price} for price in prices],
        "card": CARDS[number % len(CARDS)],
        "force_failure": number % FAILED_ORDERS == 1,
    }


def _payment(number: int) -> dict[str, Any]:
    return {"amount": 10 + number, "card": CARDS[number % len(CARDS)]}


def _expense(number: int) -> dict[str, Any]:
    return {"employee": ("Ada", "Grace")[number % 2]}


def _content(number: int) -> dict[str, Any]:
    return {"text": TEXTS[number % len(TEXTS)], "patience": 3}


def _reconciliation(number: int) -> dict[str, Any]:
    return {"payment": f"payment {number}", "expected": 100}


def _letters(_: int) -> dict[str, Any]:
    return {"name": "Ada", "first_at": "2026-01-01T09:00:00+00:00", "pause": 1}


def _image(_: int) -> dict[str, Any]:
    return {"file": "portrait.png"}


FEEDS = (
    Feed("fulfil_order", 1.0, _order),
    Feed("process_payment", 3.0, _payment),
    Feed("approve_expense", 3.0, _expense),
    Feed("moderate_content", 2.5, _content),
    Feed("reconcile_payment", 3.0, _reconciliation),
    Feed("drip_emails", 4.0, _letters),
    Feed("make_thumbnail", 6.0, _image),
)
SCHEDULE, TRIGGER_EVERY = "hourly_metrics", 5.0
