"""What a caller may ask of a start beside its queue and priority: turns, uniqueness, quiet."""

from datetime import datetime, timedelta
from hashlib import blake2b

from durable_otp.durations import in_seconds
from durable_otp.storage.executions import NewExecution
from durable_otp.storage.flow import HeldBack

LONGEST_KEY = 400
Time = timedelta | float


def held_back(
    *,
    concurrency_key: str | None,
    concurrency: int | None,
    unique_for: Time | None,
    debounce: Time | None,
    idempotency_key: str | None,
    scheduled_at: datetime | None,
) -> HeldBack | None:
    """Return how a start is to be held back; None when nothing of that is asked for.

    Raises:
        ValueError: An option is not what it should be, or two contradict each other.
    """
    if concurrency_key is None and concurrency is not None:
        raise ValueError(
            "concurrency is for a concurrency_key; name the key whose turns it limits."
        )
    if concurrency_key is None and unique_for is None and debounce is None:
        return None
    _check_key(concurrency_key)
    _check_combination(concurrency_key, debounce, scheduled_at)
    if debounce is not None and idempotency_key is None:
        raise ValueError("debounce needs an idempotency_key: what is to be quiet before it begins?")
    return HeldBack(
        turns_of=concurrency_key,
        limit=_checked_limit(1 if concurrency is None else concurrency),
        unique_for=None if unique_for is None else _positive(unique_for, "unique_for"),
        quiet=0.0 if debounce is None else _positive(debounce, "debounce"),
    )


def with_key(one: NewExecution, held: HeldBack) -> NewExecution:
    """Return a start that is to be unique for a time with a key: by default, that of its input."""
    if held.unique_for is not None and one.idempotency_key is None:
        text = "" if one.input is None else one.input
        one.idempotency_key = f"input:{blake2b(text.encode(), digest_size=16).hexdigest()}"
    return one


def _check_key(key: str | None) -> None:
    is_key = isinstance(key, str) and 0 < len(key) <= LONGEST_KEY and key.isprintable()
    if key is not None and not is_key:
        raise ValueError(
            f"concurrency_key must be a text of 1 to {LONGEST_KEY} printable characters, "
            f"not {key!r}."
        )


def _check_combination(
    concurrency_key: str | None, debounce: Time | None, scheduled_at: datetime | None
) -> None:
    given = {
        "concurrency_key": concurrency_key,
        "debounce": debounce,
        "scheduled_at": scheduled_at,
    }
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"{named[0]} and {named[1]} both say when it begins; give one of them.")


def _checked_limit(value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"concurrency must be a whole number of at least 1, not {value!r}.")
    return value


def _positive(value: Time, what: str) -> float:
    seconds = in_seconds(value, what=what)
    if seconds == 0:
        raise ValueError(f"{what} must be more than zero.")
    return seconds
