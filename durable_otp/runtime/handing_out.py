"""Which claimed execution goes to which worker, and how many to claim.

A worker has one execution to run and, while they are short, some more handed ahead, so that it
need not wait for its manager between two of them. When one turns out to be long, those behind it
are taken back for workers that are free.
"""

import asyncio
import heapq
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence

from durable_otp.runtime.ahead import Ahead
from durable_otp.runtime.apart import seat
from durable_otp.runtime.crew import Crew
from durable_otp.runtime.held import Held
from durable_otp.runtime.station import Station

LONGEST_WAIT_BEHIND = 0.05


class HandingOut:
    """The executions that a manager holds, and those of them that no worker has yet.

    ``catch_up`` takes note of what is over. ``on_surplus`` is called with what was taken back: if
    no worker is free, it had better go to another node.
    """

    def __init__(
        self,
        crew: Crew,
        catch_up: Callable[[], None],
        on_surplus: Callable[[Sequence[Held]], None],
    ) -> None:
        self.held: set[Held] = set()
        self.ready: deque[Held] = deque()
        self._crew = crew
        self._catch_up = catch_up
        self._on_surplus = on_surplus
        self.one_each = False
        """Whether nothing is handed ahead: what is, counts against the limits of all nodes."""
        self._ahead = Ahead()
        self._is_shared = crew.is_shared
        self._room = self._shared_room if crew.is_shared else crew.room
        self._closed: set[str] = set()
        """Shared workers that get nothing: one that runs something apart, or is to run empty."""
        self._runs = 0
        self._look: asyncio.TimerHandle | None = None
        self._seen: dict[int, int] = {}
        """By a place's number, the run that was in front at the last look."""

    def wanted(self, concurrency: int) -> int:
        """Return how many to claim: none before half of what was handed ahead is done."""
        if any(held.alone for held in self.held):
            return 0
        most = self._most
        stations = self._usable(concurrency)
        wanted = sum(self._room(station, most) for station in stations) - len(self.ready)
        if any(station.is_idle for station in stations) or 2 * wanted >= most * len(stations):
            return max(0, wanted)
        return 0

    @property
    def _most(self) -> int:
        """How many a worker may have in its hand."""
        return 1 if self.one_each else 1 + self._ahead.count

    def take(self, claimed: Iterable[Held]) -> None:
        """Take note of new claims."""
        for held in claimed:
            self.held.add(held)
            self.ready.append(held)

    def again(self, held: Held) -> None:
        """Have an execution handed out before any other."""
        self.ready.appendleft(held)

    def drop(self, held: Held) -> None:
        """Forget an execution."""
        self.held.discard(held)

    def hand_out(self, concurrency: int) -> bool:
        """Give what is ready to workers; one that must be alone waits until it is."""
        if not self._is_shared:
            return self._hand_out(concurrency)
        waiting, is_given = self._give_apart(concurrency)
        is_given |= self._hand_out(concurrency)
        self.ready.extendleft(reversed(waiting))
        return is_given

    def _give_apart(self, concurrency: int) -> tuple[list[Held], bool]:
        """Give those that begin apart a process each; return those for which there is none yet."""
        suspects = [held for held in self.ready if held.apart]
        workers = self._crew.workers()
        in_hand = {
            worker: sum(len(station.hand) for station in places)
            for worker, places in workers.items()
            if places[0].is_open and not any(_is_apart(station) for station in places)
        }
        may_begin = suspects
        if any(held.alone for held in self.held):
            may_begin = [held for held in suspects if not self._must_wait(held)][:1]
        seating = seat(len(may_begin), in_hand, self._free(concurrency))
        seated = list(zip(may_begin, seating.workers, strict=False))
        waiting = [held for held in suspects if held not in may_begin[: len(seated)]]
        self.ready = deque(held for held in self.ready if not held.apart)
        for held, worker in seated:
            self._number(held)
            workers[worker][0].give([held])
        self._closed = {worker for worker in workers if worker not in in_hand}
        self._closed.update(seating.workers)
        if seating.let_run_empty is not None:
            self._closed.add(seating.let_run_empty)
        return waiting, bool(seated)

    def _number(self, held: Held) -> None:
        self._runs += 1
        held.run = self._runs

    def _hand_out(self, concurrency: int) -> bool:
        most = self._most
        stations = self._usable(concurrency)
        room = {station: self._room(station, most) for station in stations}
        places = [(len(place.hand), place.number, place) for place in stations if room[place]]
        heapq.heapify(places)
        given: dict[Station, list[Held]] = defaultdict(list)
        is_anyone_alone = any(held.alone for held in self.held)
        while self.ready and places and not (is_anyone_alone and self._must_wait(self.ready[0])):
            in_hand, number, station = heapq.heappop(places)
            held = self.ready.popleft()
            self._runs += 1
            held.run = self._runs
            given[station].append(held)
            if len(given[station]) < room[station]:
                heapq.heappush(places, (in_hand + 1, number, station))
        for station, executions in given.items():
            station.give(executions)
        if any(len(station.hand) > 1 for station in given):
            self._look_soon()
        return bool(given)

    def done(self, seconds: float) -> None:
        """Take note of how long an execution took."""
        self._ahead.observe(seconds)

    def take_all_back(self) -> None:
        """Take back whatever has not begun, and part with it: nothing more is to begin here."""
        for station in self._crew.stations:
            self.returned(station.take_back())
        self._part_with(tuple(self.ready))

    def returned(self, executions: Iterable[Held]) -> None:
        """Put what a worker has not begun before all else that is ready."""
        self.ready.extendleft(reversed(list(executions)))

    def stop(self) -> None:
        """Look at nothing any more."""
        if self._look is not None:
            self._look.cancel()

    # who waits behind whom

    def _look_soon(self) -> None:
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(LONGEST_WAIT_BEHIND, self._take_from_behind)

    def _take_from_behind(self) -> None:
        """Take back what waits behind an execution that has been in front since the last look."""
        self._look = None
        self._catch_up()
        laden = [station for station in self._crew.stations if len(station.hand) > 1]
        waited = []
        for station in laden:
            front = station.hand[0]
            if self._seen.get(station.number) == front.run:
                self._ahead.too_long()
                waited += station.take_back()
        self._seen = {place.number: place.hand[0].run for place in laden if place.hand}
        self.returned(sorted(waited, key=lambda held: held.run))
        self._part_with(waited)
        if any(len(station.hand) > 1 for station in laden):
            self._look_soon()

    def _part_with(self, surplus: Sequence[Held]) -> None:
        if surplus:
            self._on_surplus(surplus)

    # where there is room

    def _usable(self, concurrency: int) -> list[Station]:
        """Return the places that may have work: those that have, and idle ones up to the limit."""
        stations = self._crew.stations
        busy = [station for station in stations if station.hand]
        in_hand = sum(len(station.hand) for station in busy)
        unsettled = len(self.held) - in_hand - len(self.ready)
        idle = [station for station in stations if station.is_idle]
        if self._is_shared:  # a neighbour may have the last that their worker may take
            idle = [station for station in idle if self._room(station, 1)]
        free = max(0, concurrency - len(busy) - unsettled)
        return busy[:concurrency] + idle[:free]

    def _free(self, concurrency: int) -> int:
        """Return how many more executions may be in flight."""
        hands = [len(station.hand) for station in self._crew.stations if station.hand]
        unsettled = len(self.held) - sum(hands) - len(self.ready)
        return concurrency - len(hands) - unsettled

    def _shared_room(self, station: Station, most: int) -> int:
        return 0 if station.worker in self._closed else self._crew.room(station, most)

    def _must_wait(self, held: Held) -> bool:
        in_flight = len(self.held) - len(self.ready)
        return in_flight > 0 and (held.alone or self._has_one_alone())

    def _has_one_alone(self) -> bool:
        return any(held.alone and held not in self.ready for held in self.held)


def _is_apart(station: Station) -> bool:
    return any(held.apart for held in station.hand)
