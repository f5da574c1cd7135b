"""Row ids: whole UUIDs of version 7, which sort as they were made."""

from uuid import RFC_4122, UUID

import pytest

from durable_otp.storage.identity import is_id, new_id


def test_ids_are_version_7_and_carry_the_time():
    one = UUID(new_id())
    assert (one.version, one.variant) == (7, RFC_4122)
    two = UUID(new_id())
    assert 0 <= (two.int >> 80) - (one.int >> 80) < 60_000


def test_ids_sort_in_the_order_in_which_they_were_made():
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize(
    "text", ["", "x", None, 7, "a" * 32, "{00000000-0000-4000-8000-000000000000}", "0-0-0-0-0"]
)
def test_what_is_no_whole_uuid_is_no_id(text):
    assert not is_id(text)


def test_an_id_may_be_written_in_capitals():
    assert is_id(new_id())
    assert is_id(new_id().upper())
