"""Messages on a link, in whatever pieces they arrive; and a child's one wait."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_otp.otp.link import (
    CorruptLinkError,
    FrameDecoder,
    Message,
    ParentLink,
    encode,
    pair,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
MESSAGES = st.lists(
    st.builds(Message, st.text(), st.dictionaries(st.text(), JSON), st.binary(max_size=50)),
    max_size=4,
)


@given(messages=MESSAGES, size=st.integers(1, 40))
def test_messages_come_out_as_they_went_in(messages: list[Message], size: int) -> None:
    stream = b"".join(map(encode, messages))
    decoder = FrameDecoder()
    received = [
        message
        for at in range(0, len(stream), size)
        for message in decoder.feed(stream[at : at + size])
    ]
    assert received == messages


@pytest.mark.parametrize("garbage", [b"\xff" * 8, b"\0\0\0\x01\0\0\0\0{", b"\0\0\0\x02\0\0\0\0{}"])
def test_what_is_not_a_message_is_refused(garbage: bytes) -> None:
    with pytest.raises(CorruptLinkError):
        list(FrameDecoder().feed(garbage))


@pytest.fixture
def ends() -> Iterator[tuple[ParentLink, socket.socket]]:
    child, supervisor = pair()
    with child, supervisor:
        yield ParentLink(child), supervisor


def test_the_wait_ends_with_a_message(ends: tuple[ParentLink, socket.socket]) -> None:
    link, supervisor = ends
    supervisor.sendall(encode(Message("job", {"n": 1}, b"raw")) * 2)
    assert link.receive(10) == link.receive(10) == Message("job", {"n": 1}, b"raw")


def test_the_wait_ends_with_its_time(ends: tuple[ParentLink, socket.socket]) -> None:
    link, _ = ends
    assert link.receive(0.01) is None
    assert not link.stopping


def test_the_wait_ends_with_another_descriptor(ends: tuple[ParentLink, socket.socket]) -> None:
    link, _ = ends
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert link.receive(None, also=[reader]) is None
    os.close(reader)
    os.close(writer)


def test_a_supervisor_that_is_gone_is_noticed(ends: tuple[ParentLink, socket.socket]) -> None:
    link, supervisor = ends
    supervisor.sendall(encode(Message("last", {})))
    supervisor.close()
    assert link.receive(None) == Message("last", {})
    assert link.receive(None) is None
    assert link.lost
    assert link.stopping
    link.send("nobody hears", {})
