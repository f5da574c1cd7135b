"""What a step prints and logs, as it lies in a file of bytes, and the entries made of it.

Standard output and error of a worker go to one file, C level too. Records of ``logging`` are
written there as lines that begin with a mark, so that level and logger survive; anything else is
output.
"""

import json
import logging
from typing import Any, TextIO

from durable_otp.workflow.stored_text import storable

MARK = "\x1e"
LONGEST_LINE = 8_192


class RecordLines(logging.Handler):
    """Writes each log record as a marked line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one that cannot be written is reported as logging does."""
        try:
            entry = {
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": self.format(record),
            }
            self._stream.write(f"{MARK}{json.dumps(entry)}\n")
        except Exception:  # noqa: BLE001 - logging's own contract for handlers
            self.handleError(record)


def entries(captured: bytes) -> list[dict[str, Any]]:
    """Return the log entries of what was captured, in order; nothing in them is unstorable."""
    text = captured.decode("utf-8", "replace")
    return [_entry(line) for line in text.split("\n") if line.strip()]


def bounded(captured: bytes, longest: int, before: int = 0) -> bytes:
    """Return the end of what was captured, cut at a line, with a note of how much is missing.

    ``before`` is how many bytes were there that are not even given.
    """
    if len(captured) <= longest and not before:
        return captured
    kept = captured[-longest:]
    kept = kept[kept.find(b"\n") + 1 :]
    missing = before + len(captured) - len(kept)
    return b"... %d bytes before this were left out (max_log)\n" % missing + kept


def _entry(line: str) -> dict[str, Any]:
    if line.startswith(MARK):
        try:
            record = json.loads(line[len(MARK) :])
            return {
                "source": "logging",
                **{k: storable(str(v), LONGEST_LINE) for k, v in record.items()},
            }
        except (ValueError, AttributeError):
            pass  # torn by a crash, or written by somebody else: it is output then
    return {"source": "output", "level": "info", "message": storable(line, LONGEST_LINE)}
