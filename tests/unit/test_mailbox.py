"""Which waits the events of a mailbox answer."""

import pytest

from durable_otp.workflow.mailbox import EventWait, Mail, Match, matches


def mails(*names):
    return [Mail(f"{number}{name}", name, number) for number, name in enumerate(names)]


@pytest.mark.parametrize(
    ("waits", "mailbox", "expected"),
    [
        ([("event", "a")], "", []),
        ([("event", "a")], "b", []),
        ([("event", "a")], "baa", [(0, 1, ["1a"])]),
        ([("event", "a"), ("event", "a")], "aa", [(0, 0, ["0a"]), (1, 1, ["1a"])]),
        ([("event", "a"), ("event", "a")], "a", [(0, 0, ["0a"])]),
        ([("any", "ab")], "cba", [(0, ["b", 1], ["1b"])]),
        ([("any", "ab")], "ab", [(0, ["a", 0], ["0a"])]),
        ([("all", "ab")], "a", []),
        ([("all", "ab")], "aba", [(0, {"a": 0, "b": 1}, ["0a", "1b"])]),
        ([("all", "ab"), ("event", "a")], "a", [(1, 0, ["0a"])]),
        ([("all", "ab"), ("any", "a")], "baa", [(0, {"a": 1, "b": 0}, ["0b", "1a"]),
                                               (1, ["a", 2], ["2a"])]),
    ],
)  # fmt: skip
def test_each_event_answers_the_first_wait_that_wants_it(waits, mailbox, expected):
    asked = [EventWait(str(n), kind, tuple(names)) for n, (kind, names) in enumerate(waits)]
    assert matches(asked, mails(*mailbox)) == [
        Match(str(wait), answer, tuple(events)) for wait, answer, events in expected
    ]
