"""What a registrar writes down of the lives of its node's processes."""

import logging
from typing import Any

from durable_otp.errors import NotPermitted
from durable_otp.events import emit
from durable_otp.storage.database import Database
from durable_otp.storage.lives import Life, Lives, open_lives, record_lives
from durable_otp.storage.processes import processes_of


class LifeLog:
    """Compares one tree with the next.

    A role without the right, such as one that was granted its rights before there was this table,
    writes nothing; its node lives all the same.
    """

    def __init__(self, database: Database, node_id: str) -> None:
        self._database = database
        self._node_id = node_id
        self._lives: Lives | None = None
        self._seen: dict[str, Any] | None = None
        self._unwritten: list[Life] = []
        self._is_refused = False

    def note(self, tree: dict[str, Any]) -> None:
        """Write down which processes have begun or ended; while none has, nothing is asked."""
        if self._is_refused:
            return
        try:
            self._write(tree)
        except NotPermitted as error:
            self._is_refused = True
            emit("lives_not_written", level=logging.WARNING, reason=str(error))

    def _write(self, tree: dict[str, Any]) -> None:
        if self._lives is None:
            self._lives = Lives(self._database.run(open_lives, self._node_id))
        if tree is not self._seen:
            self._seen = tree
            self._unwritten += self._lives.seen(list(processes_of(self._node_id, tree)))
        if self._unwritten:
            self._database.run(record_lives, self._node_id, self._unwritten)
            self._unwritten = []
