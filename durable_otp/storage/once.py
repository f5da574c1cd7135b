"""The results that ``once`` keeps, under a claim."""

from collections.abc import Mapping
from typing import Any

from durable_otp.errors import ClaimLost
from durable_otp.storage.database import Database
from durable_otp.storage.journal_writing import Holder
from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode


class PostgresOnceJournal:
    """The kept results of one claim's execution. Every method blocks until it is answered.

    Implements `engine.once_journal.OnceJournal`.
    """

    def __init__(self, database: Database, holder: Holder) -> None:
        self._database = database
        self._id = holder.id
        self._lock_token = holder.lock_token

    def kept(self, path: str, visit: int) -> Mapping[str, Any]:
        """Return the results that are kept of a visit, by key."""
        return self._database.run(kept_results, self._id, path, visit)

    def keep(self, path: str, visit: int, key: str, result: Any) -> Any:
        """Keep a result unless the key has one, and return the one that is kept."""
        parameters = {
            "id": self._id,
            "lock_token": self._lock_token,
            "path": path,
            "visit": visit,
            "key": key,
            "result": encode(result).decode(),
        }
        if self._database.run(keep_result, parameters):
            return result
        kept = self.kept(path, visit)
        if key not in kept:
            raise ClaimLost(
                f"Execution {self._id} is held under another lock token now: the result of "
                f"once({key!r}) was not kept."
            )
        return kept[key]


def kept_results(execution_id: str, path: str, visit: int) -> Operation[dict[str, Any]]:
    """Return the results that are kept of a visit, by key."""
    rows = yield Statement("once_results_of", {"id": execution_id, "path": path, "visit": visit})
    return {row["key"]: row["result"] for row in rows}


def keep_result(parameters: dict[str, Any]) -> Operation[bool]:
    """Keep a result; return whether it was this try that did."""
    rows = yield Statement("keep_once_result", parameters)
    return bool(rows)
