"""Every page against a tree that runs: what it shows, and what it says when there is nothing."""

import re

import psycopg
import pytest

from durable_otp.dashboard import finding
from durable_otp.dashboard.json_view import HIDDEN
from durable_otp.dashboard.pages import execution as execution_page
from durable_otp.storage import dashboard
from tests.support.dashboard import HOSTILE, served
from tests.support.postgres import fresh_schema
from tests.support.tables import migrated_tables
from tests.support.tree import prepare

PAGES = (
    "/", "/workflows", "/executions", "/inputs", "/schedules", "/queues", "/processes", "/doctor",
    "/audit", "/settings", "/processes/log", "/processes/lanes",
)  # fmt: skip
TABS = ("", "/flow", "/timeline", "/logs", "/data", "/history", "/events", "/family")


def ended(tree, workflow, given, *statuses):
    handle = tree.durable.start(tree.workflows[workflow], given)
    tree.until(handle, *(statuses or ("completed", "failed")), timeout=60)
    return handle


@pytest.fixture(scope="session")
def failed(tree):
    return ended(tree, "failing", {"word": HOSTILE})


@pytest.fixture(scope="session")
def shaped(tree):
    return ended(tree, "shapes", {"items": [1, 2, 3], "way": "a"})


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_an_empty_schema_says_that_it_is_empty(page, empty_site):
    text = empty_site.page(page)
    assert "<h1>" in text
    if page not in ("/doctor", "/settings"):
        assert 'class="empty"' in text or page == "/workflows"


@pytest.fixture(scope="module")
def empty_site(postgres_dsn):
    with fresh_schema(postgres_dsn) as schema:
        prepare(postgres_dsn, schema)
        with served(postgres_dsn, schema) as site:
            yield site


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_there_is_and_nothing_breaks_out(page, site, failed, shaped):
    text = site.page(page)
    assert "<script>alert" not in text
    assert "<img src=x" not in text


@pytest.mark.parametrize("tab", TABS)
def test_every_part_of_an_execution_is_shown_escaped(tab, site, failed, shaped):
    for handle in (failed, shaped):
        text = site.page(f"/executions/{handle.id}{tab}")
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "49&" not in text  # nothing of it was a template


def test_a_failure_is_explained_with_every_attempt(site, failed):
    assert "ValueError" in site.page(f"/executions/{failed.id}")
    history = site.page(f"/executions/{failed.id}/history")
    assert history.count("<code>explode</code>") == 2
    assert "attempt 2" in history


def test_secrets_in_a_context_are_hidden_here_and_in_files(site, failed):
    for path in ("data", "history", "raw/context.json"):
        text = site.page(f"/executions/{failed.id}/{path}")
        assert "sk-very-secret" not in text
        assert HIDDEN in text


def test_a_long_history_is_shown_in_pages_and_found_by_its_steps(site, failed, monkeypatch):
    monkeypatch.setattr(execution_page, "ATTEMPTS", 2)

    def attempts(query):
        text = site.page(f"/executions/{failed.id}/history{query}")
        return re.findall(r"<summary><code>(\w+)</code>", text), text

    last, text = attempts("")
    assert last == ["explode"]
    assert "3 to 3 of 3" in text
    earlier = re.search(r'rel="prev" href="[^?]*(\?[^"]+)"', text)[1]
    for query in (earlier, "?step=prepare", "?from=1"):
        assert attempts(query)[0] == ["prepare", "explode"]
    for nonsense in ("?from=9999", "?from=x", "?step=nobody"):
        assert attempts(nonsense)[0] == ["explode"]


def test_the_flow_shows_what_was_gone_along(site, shaped):
    text = site.page(f"/executions/{shaped.id}/flow")
    cards = dict(
        re.findall(
            r'<text x="[^"]+" y="[^"]+">(\w+)</text>\s*<text class="meta"[^>]*>([a-z ]+)', text
        )
    )
    reached = [cards[name].strip() for name in ("left", "right", "taken")]
    assert reached == ["completed"] * 3
    assert cards["not_taken"] == "not reached"
    assert "3 of 3 ended" in text
    assert len(re.findall(r'class="edge \w+ taken"', text)) >= 6


def test_logs_are_found_by_level_step_and_text(site, failed):
    path = f"/executions/{failed.id}/logs"
    assert "prepared" in site.page(path)
    assert "prepared" in site.page(f"{path}?level=info&step=prepare&q=PREP")
    for nothing in ("?level=error", "?step=explode", "?q=unprepared"):
        assert "No lines match" in site.page(path + nothing)
    assert "prepared" in site.page(f"/executions/{failed.id}/raw/log.txt")


def test_a_family_is_shown_from_its_root_whoever_is_looked_at(site, tree, shaped):
    child = tree.durable.list_children(shaped.id)[0]
    for id_ in (shaped.id, child.id):
        text = site.page(f"/executions/{id_}/family")
        assert text.count('<li><span class="row">') == 6
    assert f"/executions/{shaped.id}" in site.page(f"/executions/{child.id}")


def test_executions_are_narrowed_and_paged(site, tree, failed, shaped):
    def ids(query):
        text = site.page(f"/executions?{query}")
        return re.findall(r'<a class="go mono" href="/executions/([0-9a-f-]+)', text)

    assert failed.id in ids("workflow=failing&status=failed&error=ValueError&range=1h")
    assert failed.id in ids(f"id={failed.id[:13]}")
    assert failed.id not in ids("status=completed")
    assert ids("error=KeyError") == ids("queue=no+such") == ids("range=1h&step=zz") == []
    assert shaped.id in ids("contains=%7B%22way%22%3A+%22a%22%7D")
    children = ids(f"parent={shaped.id}")
    assert len(children) == 5
    assert not set(children) & set(ids("workflow=shapes"))
    assert set(children) <= set(ids("workflow=shapes&children=1"))
    older = site.page(f"/executions?parent={shaped.id}&after={children[0]}")
    assert re.findall(r'go mono" href="/executions/([0-9a-f-]+)', older) == children[1:]


def test_many_executions_are_fifty_a_page(site, tree):
    tree.durable.start_many("waiting", [{}] * 60, queue="sixty")
    first = site.page("/executions?queue=sixty")
    assert "60 executions" in first
    more = re.search(r'rel="next" href="([^"]+)"', first)
    second = site.page(more[1].replace("&amp;", "&"))
    both = [re.findall(r'id="row-([0-9a-f-]+)', page) for page in (first, second)]
    assert [len(page) for page in both] == [50, 10]
    assert not set(both[0]) & set(both[1])


def test_what_is_searched_for_is_found_in_parts_that_say_how_far_they_went(site, tree, monkeypatch):
    tree.durable.start_many("waiting", [{"colour": f"c{n}"} for n in range(30)], queue="searched")
    path = "/executions?queue=searched&contains=colour%3Dc0"
    assert ">1 execution<" in site.page(path)
    assert ">1 execution<" in site.page("/executions?queue=searched&contains=%22C0%22")
    monkeypatch.setattr(finding, "MOST_SEARCHED", 10)
    text = site.page(path)
    assert "None among the newest 10" in text
    for _ in range(100):  # whatever else the tree has begun lies between
        more = re.search(r'rel="next" href="([^"]+)"', text)
        if "colour" in text and 'class="go mono"' in text:
            break
        text = site.page(more[1].replace("&amp;", "&"))
    assert len(re.findall(r'class="go mono"', text)) == 1
    assert "Searched the newest 10" in text


def test_what_a_context_has_is_searched_for(site, failed):
    text = site.page("/executions?workflow=failing&context=prepared%3Dtrue")
    assert f'id="row-{failed.id}"' in text
    assert f'id="row-{failed.id}"' not in site.page("/executions?context=prepared%3Dfalse")
    assert "A context is an object" in site.page("/executions?context=%5B1%5D")


def test_what_is_encoded_is_said_not_to_be_searched(postgres_dsn):
    with (
        fresh_schema(postgres_dsn) as schema,
        migrated_tables(postgres_dsn, schema) as tables,
        served(postgres_dsn, schema) as site,
    ):
        tables.add(input={"$codec": "veil", "encoded": "e30="})
        for query in ("contains=a%3D1", "context=a%3D1"):
            assert "encoded by veil" in site.page(f"/executions?{query}")
            assert site.client.get(f"/api/executions?{query}").json()["not_searched"] == ["veil"]
        assert "encoded by veil" not in site.page("/executions?status=pending")


def test_of_a_name_of_which_little_ended_the_page_says_how_far_it_looked(site, tree, monkeypatch):
    tree.durable.start_many("waiting", [{}] * 3, queue="little")
    assert "were looked at" not in site.page("/executions?queue=little")
    monkeypatch.setattr(dashboard, "MOST_SEARCHED", 2)
    text = site.page("/executions?queue=little")
    assert "of what lives the newest 2 were looked at" in text
    assert "status=pending%2Crunning%2Cwaiting%2Ccompensating" in text


def test_a_prefix_in_the_address_leads_to_the_list(site, failed):
    answer = site.client.get(f"/executions/{failed.id[:8]}")
    assert answer.headers["location"] == f"/executions?id={failed.id[:8]}"


def test_what_is_not_there_is_said(site):
    nobody = "01a2031b-bbf1-7f5f-8d85-b5c120001547"
    assert "There is no execution" in site.page(f"/executions/{nobody}", 404)
    assert "No such page" in site.page("/nowhere", 404)
    assert "No such workflow" in site.page("/workflows/nobody", 404)
    assert site.page(f"/executions/{nobody}/raw/x.json", 404)


@pytest.mark.parametrize(
    "path",
    [
        "/executions?after=zz&id=zz&status=%00&from=zz&contains=%00",
        "/executions?workflow=%00&queue=%00&step=%00&error=%00",
        "/audit?after=zz",
        "/palette?q=%00%ff",
        "/?window=zz",
        "/inputs?type=zz",
        "/live%00",
        "/workflows/%00",
    ],
)
def test_no_address_breaks_a_page(site, path):
    answer = site.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code in (200, 404), answer.text[-500:]


def test_processes_show_the_tree_and_what_each_does(site, tree):
    text = site.page("/processes")
    for word in ("queue manager", "worker", "sleep waker", "registrar", str(tree.runtime.pid)):
        assert word in text
    assert text.count('role="row"') == len(tree.nodes())


def test_a_node_that_is_silent_is_shown_as_lost(site, tree):
    tree.sql(
        "INSERT INTO {s}.nodes (id, name, hostname, pid, beat, workflows, node_timeout, "
        "started_at, seen_at) VALUES ('silent', 'app', 'far-away', 1, 1, '[]', 1, now(), "
        "now() - interval '1 hour')"
    )
    text = site.page("/processes")
    tree.sql("DELETE FROM {s}.nodes WHERE id = 'silent'")
    assert "<strong>app on far-away</strong>" in text
    assert ">lost</span>" in text
    assert ">lost</span>" not in site.page("/processes")


def test_the_doctor_shows_how_the_database_is(site, tree):
    text = site.page("/doctor")
    assert re.search(r'<td class="mono">step_executions</td><td class="num nowrap">\d', text)
    assert "of the notifications" in text


def test_a_queue_shows_what_holds_for_all_nodes_together(site, tree):
    tree.durable.start("waiting", {}, queue="limited")
    tree.sql(
        "INSERT INTO {s}.queue_limits (queue, concurrency, rate_count, rate_seconds, by_operator, "
        "refilled_at, updated_at) VALUES ('limited', 7, 30, 60, true, now(), now())"
    )
    assert "together 7 at once, 30 in 1 m" in site.page("/queues")


def test_input_and_context_say_how_large_they_are(site, failed):
    sizes = re.findall(
        r'class="small muted">(\d+) B</span>', site.page(f"/executions/{failed.id}/data")
    )
    assert len(sizes) == 2
    assert all(int(size) > len(HOSTILE) for size in sizes)


def test_a_reason_is_given_why_nothing_goes_on(site, tree):
    lost = tree.durable.start("waiting", {}, queue="nowhere")
    assert "No living node runs queue" in site.page(f"/executions/{lost.id}")
    waits = ended(tree, "waiting", {}, "waiting")
    text = site.page(f"/executions/{waits.id}")
    assert "event “paid”" in text
    assert f"/executions/{waits.id}/events" in text


def test_the_palette_finds_pages_workflows_ids_and_orders(site, failed):
    assert "Overview" in site.page("/palette?q=")
    assert "/executions?workflow=failing" in site.page("/palette?q=fail")
    assert f"/executions/{failed.id}" in site.page(f"/palette?q={failed.id}")
    assert "pause queue default" in site.page("/palette?q=pause")
    assert "Nothing of this name" in site.page("/palette?q=zzzz")


def test_without_the_tables_the_page_says_what_to_do(postgres_dsn):
    with served(postgres_dsn, "t_not_there") as site:
        assert "durable-otp migrate" in site.page("/", 503)


def test_a_question_that_takes_too_long_is_given_up(site, tree):
    with psycopg.connect(tree.dsn) as other:
        other.execute(f"LOCK TABLE {tree.schema}.workflow_executions".encode())
        assert "takes the database too long" in site.page("/executions?queue=locked", 503)
    assert "No executions match" in site.page("/executions?queue=locked")
