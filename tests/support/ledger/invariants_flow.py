"""What must always hold of turns and of queues with limits: kinds of I-8."""

from collections import defaultdict
from collections.abc import Mapping

from tests.support.ledger.record import Record, is_final


def turns_are_kept(record: Record) -> list[str]:
    """I-8 of a key: no more executions have a turn of it at once than there are turns.

    An execution has its turn from the moment in which it no longer waits for it to its end.
    """
    having: dict[str, set[str]] = defaultdict(set)
    found = []
    for move in record.of("workflow_executions"):
        key, execution = move["new"].get("concurrency_key"), str(move["execution"])
        if key is None:
            continue
        if is_final(move["new_status"]):
            having[key].discard(execution)
        elif move["new_status"] != "waiting" or execution in having[key]:
            having[key].add(execution)
        most = move["new"]["concurrency_limit"]
        if len(having[key]) > most and move["old_status"] in (None, "waiting"):
            found.append(f"I-8 {sorted(having[key])} had a turn of {key!r}, which has {most}")
    return found


def limits_are_kept(record: Record, most: Mapping[str, int]) -> list[str]:
    """I-8 of a queue: no more of its executions are held at once, on all nodes, than it allows."""
    held: dict[str, set[str]] = defaultdict(set)
    found = []
    for move in record.of("workflow_executions"):
        queue, execution = move["new"].get("queue"), str(move["execution"])
        if queue not in most:
            continue
        if move["new_token"] is None:
            held[queue].discard(execution)
            continue
        held[queue].add(execution)
        if len(held[queue]) > most[queue] and move["old_token"] is None:
            ids = sorted(held[queue])
            found.append(f"I-8 {ids} of {queue!r} were held at once, and {most[queue]} may be")
    return found
