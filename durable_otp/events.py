"""What happened, said once: structured events, from which log lines are derived.

Code says ``emit("worker_died", pid=..., reason=...)``; whoever subscribed hears it in order. The
log formatter below is one subscriber, tests are another.
"""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("durable_otp")


@dataclass(frozen=True)
class Event:
    """One thing that happened: a name (noun and participle) and its facts."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    level: int = logging.INFO

    def __str__(self) -> str:
        facts = " ".join(f"{key}={_one_line(value)}" for key, value in self.facts.items())
        return f"{self.name} {facts}".rstrip()


_subscribers: list[Callable[[Event], None]] = []


def subscribe(handler: Callable[[Event], None]) -> Callable[[], None]:
    """Call ``handler`` with every event of this process; return the function that ends it."""
    _subscribers.append(handler)
    return lambda: _subscribers.remove(handler)


def emit(name: str, /, *, level: int = logging.INFO, **facts: Any) -> None:
    """Tell every subscriber that something happened, and log it."""
    event = Event(name, facts, level)
    logger.log(level, "%s", event, extra={"event": event})
    for handler in tuple(_subscribers):
        handler(event)


def log_to_stderr(
    log_format: str = "text", *, process: str = "", level: int = logging.INFO
) -> None:
    """Send events to stderr as lines of text or of JSON; ``process`` names the speaker."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(process) if log_format == "json" else _TextLines(process))
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


class _TextLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(message)s", "%H:%M:%S")
        self._process = process

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        line = super().formatMessage(record)
        return f"{line} process={self._process}" if self._process else line


class _JsonLines(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "event", None)
        line: dict[str, Any] = {"time": record.created, "level": record.levelname.lower()}
        if self._process:
            line["process"] = self._process
        line |= {"event": event.name, **event.facts} if event else {"message": record.getMessage()}
        return json.dumps(line, default=str)


def _one_line(value: Any) -> str:
    """Return a value for a log line: control characters escaped, so no value can forge a line."""
    text = value if isinstance(value, str) else str(value)
    return json.dumps(text) if any(c.isspace() or not c.isprintable() for c in text) else text
