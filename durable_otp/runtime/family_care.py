"""What parents and children need that nobody's end of an execution brings about.

Calls whose time has passed, parents that nobody looked at after a child's end, and children whose
parent has ended: duties of the `wait_timeouts` process.
"""

from durable_otp.storage import families
from durable_otp.storage.database import Database


def give_up_overdue_calls(database: Database, batch_size: int) -> int:
    """End the waits for called workflows whose time has passed, and cancel those."""
    calls = database.run(families.overdue_calls, batch_size)
    for call in calls:
        database.run(families.give_up_call, call["id"], call["parent"], call["child"])
    return len(calls)


def attend_left_parents(database: Database, batch_size: int) -> int:
    """Do what the end of a child asks for where whoever ended it did not come to do it."""
    parents = database.run(families.left_parents, batch_size)
    for parent in parents:
        database.run(families.children_ended, [parent])
    return len(parents)


def cancel_orphans(database: Database, batch_size: int) -> int:
    """Cancel the children of parents that have ended without them."""
    parents = database.run(families.parents_of_orphans, batch_size)
    for parent in parents:
        database.run(families.cancel_orphans, parent)
    return len(parents)
