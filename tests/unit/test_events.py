"""What the processes say: events, to whoever subscribed, and as lines."""

import json
import logging

import pytest

from durable_otp.events import Event, emit, log_to_stderr, logger, subscribe


@pytest.fixture
def lines(capsys):
    """Log as a process does, and put the logger back afterwards."""
    kept = logger.handlers[:], logger.level, logger.propagate

    def log(log_format):
        log_to_stderr(log_format, process="worker default/1")
        emit("worker_died", pid=7, reason="by SIGKILL\nor not", level=logging.WARNING)
        logger.info("a plain %s", "message")
        return capsys.readouterr().err.splitlines()

    yield log
    logger.handlers[:], logger.level, logger.propagate = kept


def test_a_subscriber_hears_every_event_until_it_ends_it():
    heard = []
    end = subscribe(heard.append)
    emit("worker_died", pid=7)
    end()
    emit("worker_started", pid=8)
    assert heard == [Event("worker_died", {"pid": 7})]


def test_a_line_of_text_is_one_line_whatever_it_says(lines):
    event, plain = lines("text")
    assert "WARNING worker_died pid=7 reason=" in event
    assert r'"by SIGKILL\nor not"' in event
    assert plain.endswith("a plain message process=worker default/1")


def test_a_line_of_json_has_the_facts(lines):
    event, plain = (json.loads(line) for line in lines("json"))
    assert event.pop("time") > 0
    assert event == {
        "level": "warning",
        "process": "worker default/1",
        "event": "worker_died",
        "pid": 7,
        "reason": "by SIGKILL\nor not",
    }
    assert plain["message"] == "a plain message"
