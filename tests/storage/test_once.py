"""What `once` keeps: one result per key and visit, under the claim's token."""

import pytest

from durable_otp.errors import ClaimLost
from durable_otp.storage.journal import Holder, PostgresJournal
from tests.support.waits import journal_of

STRANGER = "00000000-0000-4000-8000-0000000000ff"


def test_the_first_result_stays(tables, database):
    kept = journal_of(database, tables.add("running")).once_results
    assert kept.kept("one", 1) == {}
    assert kept.keep("one", 1, "k", {"n": 1}) == {"n": 1}
    assert kept.keep("one", 1, "k", {"n": 2}) == {"n": 1}
    assert kept.keep("one", 1, "nothing", None) is None
    assert kept.keep("one", 2, "k", 3) == 3
    assert kept.kept("one", 1) == {"k": {"n": 1}, "nothing": None}


def test_nobody_else_keeps_anything(tables, database):
    id_ = tables.add("running")
    stranger = PostgresJournal(database, Holder(id_, STRANGER)).once_results
    with pytest.raises(ClaimLost, match="'k'"):
        stranger.keep("one", 1, "k", 1)
    waiting = journal_of(database, tables.add("waiting", due_in=None)).once_results
    with pytest.raises(ClaimLost):
        waiting.keep("one", 1, "k", 1)
    assert tables.sql("SELECT * FROM durable.once_results") == []
