"""Times on the command line: how long, how long ago, or when."""

from datetime import UTC, datetime, timedelta
from typing import overload

from durable_otp.cli.failures import UsageMistake
from durable_otp.cli.target import Target
from durable_otp.durations import parse_duration
from durable_otp.storage.journal import database_now

INSTANT_HELP = 'How long ago ("2h"), or when ("2026-01-31T12:00Z").'


def seconds_of(text: str, option: str) -> float:
    """Return the seconds of "90", "1.5s" or "2m".

    Raises:
        UsageMistake: It is no duration.
    """
    try:
        return parse_duration(text if text.strip()[-1:].isalpha() else f"{text}s")
    except (ValueError, OverflowError):
        raise UsageMistake(
            f'{option} must be a duration such as "500ms", "30s" or "5m", not {text!r}.'
        ) from None


@overload
def instant(target: Target, text: str, option: str) -> datetime: ...


@overload
def instant(target: Target, text: str | None, option: str) -> datetime | None: ...


def instant(target: Target, text: str | None, option: str) -> datetime | None:
    """Return the instant that a text such as "2h" (ago) or "2026-01-31T12:00Z" means.

    Raises:
        UsageMistake: It is neither.
    """
    if text is None:
        return None
    try:
        ago = timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        return _parsed(text, option)
    try:
        return target.run(database_now) - ago
    except OverflowError:
        raise _mistake(text, option) from None


def _parsed(text: str, option: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise _mistake(text, option) from None
    return found if found.utcoffset() is not None else found.replace(tzinfo=UTC)


def _mistake(text: str, option: str) -> UsageMistake:
    return UsageMistake(
        f'{option} must be how long ago, such as "30m" or "2h", or an instant such as '
        f'"2026-01-31T12:00Z", not {text!r}.'
    )
