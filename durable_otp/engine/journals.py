"""The journals of one claim: that of its steps, and through it those of what is not plain."""

from typing import Protocol

from durable_otp.engine.compensation_journal import CompensationJournal
from durable_otp.engine.family_journal import FamilyJournal
from durable_otp.engine.journal import Journal


class Journals(Journal, Protocol):
    """A journal that knows its neighbours."""

    @property
    def family(self) -> FamilyJournal:
        """Parents and children."""

    @property
    def compensations(self) -> CompensationJournal:
        """What undoing has done so far."""
