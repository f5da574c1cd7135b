"""When a silent child counts as hung, in an event loop without a process."""

import asyncio
import socket

from durable_otp.otp.link import BEAT, FrameDecoder, ParentLink, pair
from durable_otp.otp.watchdog import Watchdog


async def watched(beats: list[float], seconds: float, said_in_time: int = 0) -> float:
    """Return after how long a child was found hung that beat at these moments."""
    loop = asyncio.get_running_loop()
    hung = loop.create_future()
    unheard = [None] * said_in_time
    begin = loop.time()

    def listen() -> None:
        if unheard:
            unheard.pop()
            dog.beat()

    dog = Watchdog(seconds, listen=listen, hung=lambda: hung.set_result(loop.time() - begin))
    for moment in beats:
        loop.call_later(moment, dog.beat)
    return await asyncio.wait_for(hung, 10)


def test_silence_is_noticed_once_it_is_long_enough() -> None:
    assert 0.1 <= asyncio.run(watched([], 0.1)) < 1


def test_every_beat_puts_it_off() -> None:
    assert asyncio.run(watched([0.05, 0.12, 0.2], 0.1)) >= 0.29


def test_what_was_said_in_time_and_not_heard_counts() -> None:
    assert asyncio.run(watched([], 0.1, said_in_time=2)) >= 0.29


async def sleep_with_the_child() -> bool:
    hung = []
    dog = Watchdog(0.1, listen=lambda: None, hung=lambda: hung.append(True))
    end = asyncio.get_running_loop().time() + 0.4
    while asyncio.get_running_loop().time() < end:
        pass  # this process does not get to its timers, as when all were suspended
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    dog.cancel()
    return bool(hung)


def test_a_supervisor_that_was_not_running_itself_blames_nobody() -> None:
    assert not asyncio.run(sleep_with_the_child())


def beats_of(link: ParentLink, supervisor: socket.socket, wait: float) -> int:
    link.receive(wait)
    supervisor.settimeout(0)
    kinds = [message.kind for message in FrameDecoder().feed(supervisor.recv(4096))]
    assert set(kinds) == {BEAT}
    return len(kinds)


def test_waiting_beats_four_times_as_often_as_needed() -> None:
    child, supervisor = pair()
    with child, supervisor:
        assert 4 <= beats_of(ParentLink(child, watchdog=0.2), supervisor, 0.25) <= 6


def test_beats_in_quick_succession_are_sent_once() -> None:
    child, supervisor = pair()
    with child, supervisor:
        link = ParentLink(child, watchdog=60)
        for _ in range(1000):
            link.beat()
        assert beats_of(link, supervisor, 0) == 1


def test_without_a_watchdog_nothing_is_sent() -> None:
    child, supervisor = pair()
    with child, supervisor:
        link = ParentLink(child)
        link.beat()
        link.receive(0.01)
        supervisor.settimeout(0)
        try:
            supervisor.recv(1)
        except BlockingIOError:
            return
        raise AssertionError("something was sent")
