"""What a step prints and logs, kept beside being shown: in this process, that of the test."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any, TextIO, cast

from durable_otp.engine.log_capture import RecordLines, bounded, entries

MAX_LOG = 64 * 1024
"""The default of ``max_log``."""


class Capture:
    """The output of one attempt; Python's streams and ``logging``, not what C code writes."""

    def __init__(self) -> None:
        self._kept = StringIO()

    def start(self) -> None:
        """Begin an attempt's part."""
        self._kept = StringIO()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what is written inside."""
        root = logging.getLogger()
        handler, level = RecordLines(self._kept), root.level
        if level in (logging.NOTSET, logging.WARNING):
            root.setLevel(logging.INFO)  # as a worker does
        root.addHandler(handler)
        try:
            with (
                redirect_stdout(_both(sys.stdout, self._kept)),
                redirect_stderr(_both(sys.stderr, self._kept)),
            ):
                yield
        finally:
            root.removeHandler(handler)
            root.setLevel(level)

    def entries(self) -> list[dict[str, Any]]:
        """Return what the attempt has written as log entries."""
        return entries(bounded(self._kept.getvalue().encode("utf-8", "replace"), MAX_LOG))


class _Both:
    """A stream that shows what is written to it and keeps it as well."""

    def __init__(self, shown: TextIO, kept: StringIO) -> None:
        self._shown = shown
        self._kept = kept

    def write(self, text: str) -> int:
        self._kept.write(text)
        return self._shown.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)


def _both(shown: TextIO, kept: StringIO) -> TextIO:
    return cast("TextIO", _Both(shown, kept))
