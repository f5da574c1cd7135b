"""Telling open pages that something has changed; they ask again for what they show.

One thread listens to PostgreSQL for all pages, and only while a page is open. Pages are told
topics, never data, so that who may see what is decided at each request. While nothing changes,
nothing is asked: a comment every 15 s keeps the stream open, and it does not touch the database.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Iterable

from durable_otp.clock import Deadline
from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.storage.changes import Change, ChangeFeed

LOOK_SECONDS = 1.0
COALESCE_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 15.0
REST_AFTER_LOSS = 2.0
MOST_STREAMS = 200


class Stream:
    """One open page: what it wants to hear of, and what it has not been told yet.

    Args:
        topics: Such as ``"executions"`` or ``"nodes"``; ``"execution:<id>"`` for one of them.
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = frozenset(topics)
        self._untold: set[str] = set()
        self._told = asyncio.Event()
        self._over = False
        self._loop = asyncio.get_running_loop()

    def tell(self, topics: set[str]) -> None:
        """Take note of changes; called from any thread."""
        wanted = topics & self._topics
        if wanted:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the page with it
                self._loop.call_soon_threadsafe(self._take, wanted)

    def end(self) -> None:
        """Tell the page nothing more; called from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._finish)

    async def events(self) -> AsyncIterator[str]:
        """Yield what is sent to the browser, until the dashboard ends."""
        yield "retry: 2000\nevent: open\ndata:\n\n"
        while not self._over:
            try:
                await asyncio.wait_for(self._told.wait(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            await asyncio.sleep(COALESCE_SECONDS)
            topics, self._untold = self._untold, set()
            self._told.clear()
            yield f"event: change\ndata: {' '.join(sorted(topics))}\n\n"

    def _finish(self) -> None:
        self._over = True
        self._told.set()

    def _take(self, topics: set[str]) -> None:
        self._untold |= topics
        self._told.set()


class Hub:
    """Listens while there are streams, and tells each what it wants to hear."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._schema = schema
        self._streams: set[Stream] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.hears = threading.Event()
        """Set while changes are heard of."""
        self._closed = threading.Event()

    @property
    def is_full(self) -> bool:
        """Whether so many pages are open that no other is told anything."""
        return len(self._streams) >= MOST_STREAMS

    def join(self, stream: Stream) -> None:
        """Tell a stream from now on."""
        with self._lock:
            self._streams.add(stream)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._listen, name="dashboard feed", daemon=True
                )
                self._thread.start()
        if self.hears.is_set():  # nobody has told it what changed since its page was made
            stream.tell({"everything"})

    def leave(self, stream: Stream) -> None:
        """Tell a stream nothing any more; after the last one, nothing is listened to."""
        with self._lock:
            self._streams.discard(stream)

    def tell(self, *topics: str) -> None:
        """Tell all streams of something that this process did itself."""
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.tell(set(topics))

    def close(self) -> None:
        """Listen no more, and end all streams."""
        self._closed.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.end()
        thread = self._thread
        if thread is not None:
            thread.join(LOOK_SECONDS * 3)

    def _listen(self) -> None:
        while not self._is_over():
            try:
                with ChangeFeed(self._dsn, self._schema) as feed:
                    self.hears.set()
                    self.tell("everything")  # what changed meanwhile was not heard
                    while not self._is_over():
                        self._pass_on(feed.wait(LOOK_SECONDS))
            except DatabaseUnreachable as error:
                self.hears.clear()
                emit("dashboard_not_told", level=logging.WARNING, reason=str(error))
                rest = Deadline(REST_AFTER_LOSS)
                while not rest.passed and not self._closed.wait(LOOK_SECONDS):
                    pass

    def _pass_on(self, changes: list[Change]) -> None:
        if changes:
            topics = {change.topic for change in changes}
            topics |= {f"execution:{change.execution_id}" for change in changes}
            self.tell(*topics)

    def _is_over(self) -> bool:
        """Return whether nobody listens to this thread any more; if so it is forgotten."""
        with self._lock:
            over = self._closed.is_set() or not self._streams
            if over:
                self.hears.clear()
                self._thread = None
            return over
