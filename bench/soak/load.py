"""The load: producer, sender and canceller in a process of its own, ``python -m bench.soak.load``.

Each request is noted before and after in the ledger. One whose answer is lost is asked again with
the same key, as the documentation says; a few are given up, and may have taken effect or not.
"""

import argparse
import heapq
import itertools
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import psycopg

from bench.soak import mix
from bench.soak.workflows import write
from durable_otp import AlreadyFinished, DatabaseUnreachable, Durable

INTENT = "INSERT INTO {l}.intent (key, verb) VALUES (%s, %s)"
ACK = "INSERT INTO {l}.ack (key, execution) VALUES (%s, %s)"
GIVES_UP = 0.05
PATIENCE = 180.0
HANDS = 6


class Load:
    """Asks a schema's client for things at random moments."""

    def __init__(self, dsn: str, schema: str, seed: str) -> None:
        self._durable = Durable(dsn, schema=schema)
        self._seed = seed
        self._chance = random.Random(seed)
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._open = 0
        self._turn = threading.Lock()
        self._hands = ThreadPoolExecutor(HANDS)
        self.counts = {"asked": 0, "acked": 0, "repeated": 0, "given up": 0}

    def run(self, seconds: float, per_minute: float) -> None:
        """Start executions for so long, then finish what was begun."""
        end = time.monotonic() + seconds
        moment = time.monotonic()
        for number in itertools.count():
            moment += self._chance.expovariate(per_minute / 60)
            if moment > end:
                break
            order, key = mix.draw(self._chance), f"{self._seed}-{number}"
            self._do_until(moment)
            self._submit(partial(self._start, order, key))
        while self._later or self._open:
            self._do_until(time.monotonic() + 0.1)
        self._hands.shutdown()
        self._durable.close()

    def _do_until(self, moment: float) -> None:
        """Do what is due until a moment."""
        while True:
            with self._turn:
                due = self._later and self._later[0][0] <= time.monotonic()
                action = heapq.heappop(self._later)[2] if due else None
            if action is not None:
                self._submit(action)
            elif time.monotonic() >= moment:
                return
            else:
                time.sleep(min(0.02, max(0.0, moment - time.monotonic())))

    def _submit(self, action: Callable[[], None]) -> None:
        with self._turn:
            self._open += 1
        self._hands.submit(self._guarded, action)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - told, and the run is void
            print(f"load: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            self.counts["broken"] = self.counts.get("broken", 0) + 1
        finally:
            with self._turn:
                self._open -= 1

    def _start(self, order: mix.Order, key: str) -> None:
        def ask() -> str:
            named = {"idempotency_key": key, **order.options}
            return self._durable.start(order.workflow, order.input, **named).id

        found = self._insist(key, "start", ask)
        if found is None:
            return
        if order.name == "hearer":
            self._soon(lambda: self._send(found, f"{key}-word"))
        if order.name == "endless":
            self._soon(lambda: self._cancel(found, f"{key}-cancel"))

    def _send(self, execution: str, key: str) -> None:
        """Send an event; a repetition would be a second event, so it is never given up."""

        def ask() -> str:
            if not any(event.name == "word" for event in self._durable.list_events(execution)):
                self._durable.send_event(execution, "word", "word")
            return execution

        self._insist(key, "send", ask, gives_up=False)

    def _cancel(self, execution: str, key: str) -> None:
        def ask() -> str:
            with suppress(AlreadyFinished):  # by the request whose answer was lost
                self._durable.cancel(execution, "as the soak wants it")
            return execution

        self._insist(key, "cancel", ask, gives_up=False)

    def _insist(
        self, key: str, verb: str, ask: Callable[[], str], *, gives_up: bool = True
    ) -> str | None:
        """Ask until there is an answer; return it, None if this one was given up."""
        write(INTENT, (key, verb))
        self.counts["asked"] += 1
        end = time.monotonic() + PATIENCE
        while True:
            try:
                found = ask()
            except (DatabaseUnreachable, psycopg.Error):
                if time.monotonic() > end:
                    raise
                if gives_up and self._chance.random() < GIVES_UP:
                    self.counts["given up"] += 1
                    return None
                self.counts["repeated"] += 1
                time.sleep(0.2)
            else:
                write(ACK, (key, found))
                self.counts["acked"] += 1
                return found

    def _soon(self, action: Callable[[], None]) -> None:
        moment = time.monotonic() + random.uniform(0, 3)
        with self._turn:
            heapq.heappush(self._later, (moment, next(self._numbers), action))


def main() -> int:
    """Be the load; print what was asked as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("dsn", "schema", "seed"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--per-minute", type=float, required=True)
    options = parser.parse_args()
    load = Load(options.dsn, options.schema, options.seed)
    load.run(options.seconds, options.per_minute)
    print(json.dumps(load.counts), flush=True)
    return 1 if load.counts.get("broken") else 0


if __name__ == "__main__":
    sys.exit(main())
