"""Verbs of those who look on and help: doctor, dashboard, metrics, orders to processes."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from durable_otp import Durable
from durable_otp.client.doctor import cure, examine
from durable_otp.errors import CommandTimeout
from durable_otp.storage.changes import ChangeFeed
from durable_otp.storage.diagnosis import Bounds
from durable_otp.storage.pool import PooledDatabase
from tests.crash.verb import Arguments, Verb, order, with_client
from tests.support.tables import Tables

BOUNDS = Bounds(stale=3600.0)
PROOF = re.compile(r'name="proof" value="([0-9a-f]+)"')


# what they find


def ailing(tables: Tables) -> Arguments:
    """One of each ailment that can be cured."""
    tables.sql(
        "INSERT INTO durable.queue_managers (id, node_id, queue, started_at, seen_at) VALUES "
        "('silent', 'gone', 'default', durable.now(), durable.now() - interval '1 hour')"
    )
    tables.add("running", workflow="order", queue="silent's")
    tables.sql("UPDATE durable.workflow_executions SET locked_by = 'silent'")
    tables.add("running", workflow="order", queue="nobody's")
    tables.add("waiting", workflow="zombie", due_in=None)
    tables.add("waiting", workflow="sleeper", due_in=-7200)
    overdue = tables.add("waiting", workflow="late", due_in=None)
    tables.add_wait(overdue, names=["paid"])
    tables.add("pending", workflow="dead", queue="unserved")
    tables.sql(
        "UPDATE durable.workflow_executions SET locked_at = locked_at - interval '2 hours', "
        "updated_at = updated_at - interval '2 hours', deadline_at = CASE WHEN workflow = 'dead' "
        "THEN durable.now() - interval '2 hours' END"
    )
    tables.sql("UPDATE durable.waits SET due_at = durable.now() - interval '2 hours'")
    return []


def on_show(tables: Tables) -> Arguments:
    """An execution with steps and waits, of a workflow that is published."""
    with Durable(tables.dsn, schema=tables.schema) as durable:
        row = durable.start(order, {"n": 1}).id
    tables.sql(
        "UPDATE durable.workflow_executions SET status = 'waiting', scheduled_at = NULL, "
        "started_at = durable.now()"
    )
    tables.add_step(row, 1, path="one", name="one", next_path="two")
    tables.add_wait(row, path="two", names=["paid"])
    ended = tables.add("completed", workflow="order")
    tables.add_step(ended, 1)
    return [row]


def a_node(tables: Tables) -> Arguments:
    """A node that lives and does nothing."""
    sibling = {"id": "pruner", "role": "pruner", "pid": 8, "children": []}
    shown = {"status": "up", "restarts": 0, "started_at": None}
    tree = {"id": "root", "role": "root", "pid": 7, **shown, "children": [sibling | shown]}
    tables.sql(
        "INSERT INTO durable.nodes (id, name, hostname, pid, tree, node_timeout, started_at, "
        "seen_at) VALUES ('n', 'n', 'here', 7, %s, 1e6, durable.now(), durable.now())",
        [json.dumps(tree)],
    )
    return []


def on_time(tables: Tables) -> Arguments:
    """A schedule with a slot that has run."""
    with Durable(tables.dsn, schema=tables.schema) as durable:
        durable.create_schedule("daily", order, "0 9 * * *")
        durable.trigger_schedule("daily")
    return []


# what they do


def heal(dsn: str, schema: str) -> None:
    """Find everything that is wrong and cure what can be cured."""
    database = PooledDatabase(dsn, schema, role="doctor")
    for finding in examine(database, BOUNDS, ["default"]):
        cure(database, finding, BOUNDS)
    database.close()


def browse(*paths: str) -> Callable[..., Any]:
    """Return what looks at pages; ``{}`` is the execution."""

    def act(dsn: str, schema: str, execution: str = "") -> None:
        with _browser(dsn, schema) as browser:
            for path in paths:
                _seen(browser.get(path.format(execution)))

    return act


def press(path: str, **fields: str) -> Callable[..., Any]:
    """Return what presses a button on the first page."""

    def act(dsn: str, schema: str, execution: str = "") -> None:
        with _browser(dsn, schema) as browser:
            proof = PROOF.search(_seen(browser.get("/executions")))
            assert proof is not None
            given = {"proof": proof[1], "next": "/", **fields}
            headers = {"Sec-Fetch-Site": "same-origin"}
            address = path.format(execution)
            _seen(browser.post(address, data=given, headers=headers, follow_redirects=False), 303)

    return act


def _browser(dsn: str, schema: str) -> Any:
    from starlette.testclient import TestClient

    from durable_otp.dashboard.application import app

    return TestClient(app(dsn, schema=schema), base_url="http://localhost")


def _seen(answer: Any, status: int = 200) -> str:
    if answer.status_code != status:
        raise RuntimeError(f"{answer.url}: {answer.status_code} {answer.text[-500:]}")
    return str(answer.text)


def hear_of_changes(dsn: str, schema: str) -> None:
    with ChangeFeed(dsn, schema) as feed:
        feed.wait(0.01)


def scrape(dsn: str, schema: str) -> None:
    """Ask for the metrics, which have to be those of a database that answers."""
    from durable_otp.runtime.metrics_server import Metrics
    from durable_otp.runtime.settings import DatabaseSettings, MetricsSettings

    database = PooledDatabase(dsn, schema, role="metrics", size=1)
    settings = MetricsSettings(DatabaseSettings(dsn, schema), "n", "127.0.0.1", 0)
    _, text = Metrics(database, settings).metrics()
    if 'queue="default"' not in text:
        raise RuntimeError("the metrics do not tell of the queue")
    database.close()


@with_client
def order_in_vain(durable: Durable) -> None:
    """Order something of a node that does not take it, and take the order back."""
    with suppress(CommandTimeout):
        durable.restart_process("pruner", timeout=0.1)


def one_pending(tables: Tables) -> Arguments:
    """An execution that is due."""
    tables.add("pending", workflow="order")
    return []


SEEING: dict[str, Verb] = {
    "doctor": Verb(heal, ailing),
    "watching the nodes": Verb(with_client(lambda d: d.nodes(watch=True)), a_node),
    "order": Verb(order_in_vain, a_node),
    "metrics": Verb(scrape, one_pending),
    "dashboard: changes": Verb(hear_of_changes, repeats=False),
    "dashboard: overview": Verb(browse("/"), on_show),
    "dashboard: executions": Verb(browse("/executions", "/workflows"), on_show),
    "dashboard: an execution": Verb(
        browse(*(f"/executions/{{}}/{tab}" for tab in ("summary", "flow", "timeline", "logs"))),
        on_show,
    ),
    "dashboard: a search": Verb(
        browse("/executions?contains=n%3D1", "/executions?step=one"), on_show
    ),
    "dashboard: processes": Verb(browse("/processes", "/processes/log"), a_node),
    "dashboard: schedules": Verb(browse("/schedules"), on_time),
    "dashboard: queues and deeds": Verb(browse("/queues", "/audit"), on_show),
    "dashboard: cancel": Verb(press("/executions/{}/cancel"), on_show),
}
