"""Old executions go by themselves, whatever happens to the process that removes them."""

from tests.support.sink import sink
from tests.support.tree import STILL, kill, running, still_queue
from tests.support.waiting import wait_until

SETTINGS = STILL | {"pruner": {"interval": "50ms"}}


def test_the_pruner_removes_what_is_old_and_comes_back_when_it_is_killed(
    dsn: str, schema: str
) -> None:
    with running(
        dsn, schema, sink(), queues={"default": still_queue(2)},
        retention={"completed": "500ms"}, **SETTINGS,
    ) as tree:  # fmt: skip
        failed = tree.start(one="raise")
        asleep = tree.start(one="nap:3600")
        tree.until(failed, "failed")
        tree.until(asleep, "waiting")
        tree.sql(
            "INSERT INTO {s}.commands (id, node_id, verb, target, requested_at, deadline_at) "
            "VALUES (gen_random_uuid(), 'n', 'v', 't', '2000-01-01', '2000-01-01')"
        )
        for _ in range(2):
            handles = [tree.start() for _ in range(3)]
            kill(pid := tree.child("pruner")["pid"])
            gone = [handle.id for handle in handles]
            wait_until(
                lambda ids=gone: (
                    not tree.sql(
                        "SELECT id FROM {s}.workflow_executions WHERE id = ANY(%s::uuid[])", ids
                    )
                ),
                what="the pruner",
            )
            assert tree.replaced("pruner", pid)["restarts"] >= 1
        wait_until(lambda: not tree.sql("SELECT id FROM {s}.commands"), what="a whole round")
        assert (failed.status(), asleep.status()) == ("failed", "waiting")
        assert tree.durable.count_executions() == 2
        assert tree.durable.delete_executions(0) == 1
