"""An append-only record of what happened, which the system under test can neither see nor tidy up.

Bodies write what they do to the world (`effect`), clients what they ask for and are told (`intent`,
`ack`), whoever breaks things what was broken (`fault`), and triggers every change of the product's
rows (`moves`). All take their numbers from one sequence, so that there is one order of everything.
`invariants` asks of such a record whether what must always hold did hold.
"""

from tests.support.ledger.book import Ledger
from tests.support.ledger.checking import check, violations
from tests.support.ledger.effects import Effects
from tests.support.ledger.record import Record

__all__ = ["Effects", "Ledger", "Record", "check", "violations"]
