"""What a step prints and logs, cut into entries that can be stored."""

import io
import logging

from durable_otp.engine.failure import describe, storable
from durable_otp.engine.log_capture import RecordLines, bounded, entries


def test_records_and_output_are_told_apart_in_order() -> None:
    stream = io.StringIO()
    stream.write("printed\n")
    record = logging.LogRecord("shop", logging.WARNING, "f", 1, "two\nlines %d", (3,), None)
    RecordLines(stream).emit(record)
    stream.write("\n  \nlast without an end")
    assert entries(stream.getvalue().encode()) == [
        {"source": "output", "level": "info", "message": "printed"},
        {"source": "logging", "level": "warning", "logger": "shop", "message": "two\nlines 3"},
        {"source": "output", "level": "info", "message": "last without an end"},
    ]


def test_a_torn_record_is_output() -> None:
    assert [entry["source"] for entry in entries(b'\x1e{"level": "inf')] == ["output"]
    assert [entry["source"] for entry in entries(b"\x1e[1]")] == ["output"]


def test_nothing_in_an_entry_is_unstorable() -> None:
    (entry,) = entries(b"a\0b\xff")
    assert entry["message"] == "a\ufffdb\ufffd"
    assert len(entries(b"x" * 100_000)[0]["message"]) < 10_000


def test_only_the_end_is_kept_and_it_says_so() -> None:
    captured = b"".join(b"line %d\n" % number for number in range(100))
    kept = bounded(captured, 50).decode().splitlines()
    assert kept[-1] == "line 99"
    assert "left out" in kept[0]
    assert bounded(captured, 10_000) == captured


def test_an_error_is_storable_whatever_it_says() -> None:
    error = describe(ValueError("a\0\ud800" + "x" * 100_000))
    assert error["type"] == "ValueError"
    assert "\0" not in error["message"]
    assert len(error["message"]) < 10_000
    assert storable("short", 10) == "short"
