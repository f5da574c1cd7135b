"""What the engine asks of storage about ``once``: a Protocol beside `engine.journal.Journal`."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from threading import Lock, RLock
from typing import Any, Protocol

from durable_otp.errors import CodecError
from durable_otp.workflow.json_form import canonical


class OnceJournal(Protocol):
    """The results that ``once`` keeps; writes hold only under the claim's lock token."""

    def kept(self, path: str, visit: int) -> Mapping[str, Any]:
        """Return the results that are kept of a visit, by key."""

    def keep(self, path: str, visit: int, key: str, result: Any) -> Any:
        """Keep a result unless the key has one, and return the one that is kept."""


class OnceResults:
    """The kept results of the visit that runs; safe to use from a step's helper threads.

    What is kept is read when a body first asks, so a step without ``once`` pays nothing.
    """

    def __init__(self, journal: OnceJournal, path: str, visit: int, max_payload: int) -> None:
        self._journal = journal
        self._path = path
        self._visit = visit
        self._max_payload = max_payload
        self._kept: dict[str, Any] | None = None
        self.unreadable: CodecError | None = None
        """Why what is kept cannot be read here, which is no failure of the step."""
        self._keys: dict[str, AbstractContextManager[bool]] = {}
        self._turn = Lock()

    def result(self, key: str, call: Callable[[], Any]) -> Any:
        """Return what is kept under a key, or keep and return the result of the call."""
        with self._turn:
            alone = self._keys.setdefault(key, RLock())
        with alone:
            known = self._known()
            if key not in known:
                known[key] = self._keep(key, self._form(key, call()))
            # A body that changes what it got must not change what the next call gets.
            return self._form(key, known[key])

    def _known(self) -> dict[str, Any]:
        with self._turn:
            if self._kept is None:
                self._kept = self._read()
            return self._kept

    def _read(self) -> dict[str, Any]:
        try:
            return dict(self._journal.kept(self._path, self._visit))
        except CodecError as error:
            self.unreadable = error
            raise

    def _keep(self, key: str, result: Any) -> Any:
        with self._turn:
            return self._journal.keep(self._path, self._visit, key, result)

    def _form(self, key: str, result: Any) -> Any:
        what = f"the result of once({key!r})"
        return canonical(result, what=what, max_bytes=self._max_payload)
