"""When a manager looks at the whole of its queue, and when it goes on from where it was."""

from datetime import UTC, datetime, timedelta

import pytest

from durable_otp.runtime import looking
from durable_otp.runtime.looking import Looking
from durable_otp.storage.queue import Claim, Place

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SLOW = looking.SLOW_SECONDS * 10


def claim(number: int, priority: int = 0) -> Claim:
    return Claim(
        id=f"00000000-0000-4000-8000-{number:012}", workflow="w", version="1",
        queue="default", priority=priority, input=None,
        scheduled_at=NOW + timedelta(seconds=number), current_step=None, lock_token="t", crashes=0,
        alone=False, begun_before=False, home_queue="default", is_plain=True,
    )  # fmt: skip


def place(number: int, priority: int = 0) -> Place:
    found = claim(number, priority)
    return Place(priority, found.scheduled_at, found.id)


def seen_slowly(looks: Looking, *claims: Claim) -> None:
    for _ in range(looking.SLOW_LOOKS):
        looks.saw_whole(claims, SLOW)


def test_one_slow_look_is_the_machine_s():
    looks = Looking()
    for _ in range(looking.SLOW_LOOKS - 1):
        looks.saw_whole([claim(1)], SLOW)
    assert looks.places() is None
    looks.saw_whole([claim(1)], looking.SLOW_SECONDS / 2)
    looks.saw_whole([claim(1)], SLOW)
    assert looks.places() is None


def test_a_queue_that_is_quickly_seen_is_always_seen_whole():
    looks = Looking()
    for number in range(3):
        assert looks.places() is None
        looks.saw_whole([claim(number)], looking.SLOW_SECONDS / 2)
    assert looks.places() is None
    assert not looks.is_onwards


def test_after_a_slow_look_it_goes_on_behind_the_last_of_each_priority():
    looks = Looking()
    seen_slowly(looks, claim(1, 5), claim(7), claim(3))
    assert sorted(looks.places()) == [place(7), place(1, 5)]
    looks.saw_onwards([claim(9)], SLOW / 10)
    assert looks.is_onwards
    assert sorted(looks.places()) == [place(9), place(1, 5)]


def test_what_stood_before_does_not_bring_a_place_back():
    looks = Looking()
    looks.saw_whole([claim(7)], SLOW)
    seen_slowly(looks, claim(2))
    assert looks.places() == [place(7)]


def test_a_look_onwards_that_is_no_faster_is_not_worth_it():
    looks = Looking()
    seen_slowly(looks, claim(7))
    looks.saw_onwards([], SLOW)
    assert not looks.is_onwards
    assert looks.places() is None


def test_the_whole_is_seen_again_after_a_rest(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr("durable_otp.clock.monotonic", lambda: now[0])
    looks = Looking()
    seen_slowly(looks, claim(7))
    now[0] = SLOW * looking.REST_PER_LOOK - 0.01
    assert looks.places() is not None
    now[0] += 0.02
    assert looks.places() is None
    looks.saw_whole([], looking.SLOW_SECONDS / 2)
    assert looks.places() is None


def test_without_a_place_the_whole_is_seen_however_slow():
    looks = Looking()
    seen_slowly(looks)
    assert looks.places() is None
