"""Pages hear of what changes, and an open page costs nothing while nothing changes."""

import time

import psycopg
import pytest

from durable_otp.storage.changes import ChangeFeed
from tests.support.dashboard import Listener, served
from tests.support.postgres import fresh_schema
from tests.support.tree import prepare
from tests.support.waiting import wait_until

IDLE_SECONDS = 3.0


def heard(site, listener):
    """Wait until a stream is open and changes are heard of."""
    wait_until(lambda: listener.lines and site.hub.hears.is_set(), what="the feed")


def test_a_page_is_told_what_it_shows_and_nothing_else(site, tree):
    other = tree.durable.start("waiting", {}, queue="nowhere")
    mine = tree.durable.start("waiting", {}, queue="nowhere")
    topics = f"execution:{mine.id}%20schedules"
    with Listener(site, topics) as listener:
        heard(site, listener)
        other.cancel()
        tree.durable.create_schedule(f"told {mine.id}", "waiting", "0 0 1 1 *")
        wait_until(lambda: "schedules" in listener.told, what="the schedule")
        mine.cancel()
        wait_until(lambda: f"execution:{mine.id}" in listener.told, what="the execution")
        assert f"execution:{other.id}" not in listener.told
        assert "executions" not in listener.told


def test_a_page_is_told_of_processes_and_queues(site, tree):
    with Listener(site, "nodes%20queues") as listener:
        heard(site, listener)
        tree.kill_one_idle()
        wait_until(lambda: "nodes" in listener.told, what="the tree")
        tree.runtime.pause("other")
        wait_until(lambda: "queues" in listener.told, what="the queue")
        tree.runtime.resume("other")


def sessions(dsn, schema):
    """Return when each session of this schema's dashboard last did anything, by its pid."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid, state_change FROM pg_stat_activity WHERE application_name "
            "LIKE 'durable:dashboard%%' AND query LIKE %s",
            [f"%{schema}%"],
        ).fetchall()
    return dict(rows)


def test_an_open_page_asks_the_database_nothing_while_nothing_happens(postgres_dsn):
    with fresh_schema(postgres_dsn) as schema:
        prepare(postgres_dsn, schema)
        with (
            served(postgres_dsn, schema) as site,
            Listener(site, "executions%20nodes") as first,
            Listener(site, "executions") as second,
        ):
            site.page("/")
            heard(site, first)
            heard(site, second)
            wait_until(lambda: "everything" in first.told, what="the first word")
            before = sessions(postgres_dsn, schema)
            assert len(before) >= 2
            begun = time.monotonic()
            wait_until(lambda: time.monotonic() > begun + IDLE_SECONDS, what="nothing to happen")
            assert sessions(postgres_dsn, schema) == before


def subscribers(dsn, schema):
    with psycopg.connect(dsn, autocommit=True) as connection:
        (count,) = connection.execute(
            f"SELECT count(*) FROM {schema}.subscriptions".encode()
        ).fetchone()
    return count


def test_moves_are_notified_only_while_somebody_looks(postgres_dsn):
    with fresh_schema(postgres_dsn) as schema:
        prepare(postgres_dsn, schema)
        with served(postgres_dsn, schema) as site:
            site.page("/")
            assert subscribers(postgres_dsn, schema) == 0
            with Listener(site, "executions") as listener:
                heard(site, listener)
                assert subscribers(postgres_dsn, schema) == 1
        wait_until(lambda: subscribers(postgres_dsn, schema) == 0, what="the end of listening")


def test_a_lost_connection_is_opened_again_and_pages_ask_for_everything(postgres_dsn):
    with fresh_schema(postgres_dsn) as schema:
        prepare(postgres_dsn, schema)
        with served(postgres_dsn, schema) as site, Listener(site, "executions") as listener:
            heard(site, listener)
            wait_until(lambda: "everything" in listener.told, what="the first word")
            (pid,) = sessions_named(postgres_dsn, "durable:dashboard feed", schema)
            with psycopg.connect(postgres_dsn, autocommit=True) as connection:
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
            wait_until(lambda: listener.told.count("everything") == 2, what="the feed again")


def sessions_named(dsn, name, schema):
    with psycopg.connect(dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND query LIKE %s",
            [name, f"%{schema}%"],
        ).fetchall()
    return [pid for (pid,) in rows]


def test_a_feed_hears_many_changes_at_once(tree):
    with ChangeFeed(tree.dsn, tree.schema) as feed:
        ids = {handle.id for handle in tree.durable.start_many("waiting", [{}] * 20, queue="x")}
        heard: set[str | None] = set()

        def all_heard():
            heard.update(change.execution_id for change in feed.wait(0.2))
            return ids <= heard

        wait_until(all_heard, what="all of them")


@pytest.mark.parametrize("topics", ["", "%20" * 2000, "x" * 5000])
def test_no_topics_break_a_stream(site, topics):
    with Listener(site, topics) as listener:
        wait_until(lambda: listener.lines, what="the first line")
