"""The client's questions about parents and children."""

from durable_otp.storage import reports
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.reports import Statuses
from durable_otp.workflow.execution import Execution


class FamilyQuestions:
    """The part of a `Durable` that asks about children."""

    _database: PooledDatabase

    def list_children(self, id: str, status: Statuses = None) -> list[Execution]:  # noqa: A002 - the contract's name
        """Return an execution's children in the order in which they were created.

        Children are what its parallel and each blocks run and the workflows that it calls; what it
        merely started is nobody's child. Contexts, outputs and steps are left out.

        Args:
            id: The parent's.
            status: Only those in this status, or in one of these.

        Raises:
            ExecutionNotFound: There is no such parent.
            ValueError: A status is none.
        """
        return self._database.run(reports.list_children, id, status)
