"""Orders to processes from the page: carried out by the node, to the process that was shown."""

import re
import signal

from tests.support.dashboard import served, workflows
from tests.support.postgres import fresh_schema
from tests.support.tree import is_gone, kill, running
from tests.support.waiting import wait_until


def node_of(tree):
    (row,) = tree.sql("SELECT id FROM {s}.nodes")
    return row["id"]


def shown(site, pid):
    """Return whether a process is on the page."""
    return f'<td class="num mono">{pid}</td>' in site.page("/processes")


def test_a_process_is_killed_and_its_successor_is_shown_with_a_restart(site, tree):
    node, pid = node_of(tree), tree.child("sleep_waker")["pid"]
    text = site.do(f"/processes/{node}/kill", path="sleep_waker", pid=pid, next="/processes")
    assert "was killed" in text
    assert is_gone(pid)
    fresh = tree.replaced("sleep_waker", pid)["pid"]
    wait_until(lambda: shown(site, fresh), what="the successor")
    wait_until(lambda: ">killed" in site.page("/processes"), what="how the one before ended")
    assert not shown(site, pid)


def test_restarts_are_shown_against_the_budget_and_leave_it_by_themselves(site, tree):
    def budgets():
        text = site.page("/processes")
        found = re.findall(r'data-restarted="([^"]*)"[^>]*data-most="(\d+)"><b>(\d+)</b>', text)
        return [(len(times.split()), int(most), int(spent)) for times, most, spent in found]

    quiet = budgets()
    assert len(quiet) == len(tree.runtime.tree()["tree"]["children"]) + 2  # the two queues' workers
    assert {most for _, most, _ in quiet} == {3}
    waker = tree.child("wait_timeouts")
    before = len(waker["budget"]["restarted_at"])
    kill(waker["pid"])
    fresh = tree.replaced("wait_timeouts", waker["pid"])
    assert len(fresh["budget"]["restarted_at"]) in (before + 1, 1)  # those of before may be old
    wait_until(lambda: any(times for times, _, _ in budgets()), what="it on the page")


def test_a_worker_is_restarted_and_a_manager_s_queue_is_named(site, tree):
    node, worker = node_of(tree), tree.workers("other")[0]
    path = f"queue other/{worker['id']}"
    text = site.page("/processes")
    assert f'value="{path}"' in text
    assert "Scale other on this node to" in text
    text = site.do(f"/processes/{node}/restart", path=path, pid=worker["pid"])
    assert "was restarted" in text
    wait_until(lambda: is_gone(worker["pid"]), what="its end")


def test_a_stack_is_shown_and_the_process_goes_on(site, tree):
    node, pid = node_of(tree), tree.child("scheduler")["pid"]
    text = site.do(f"/processes/{node}/stacks", path="scheduler", pid=pid)
    assert "recurring.py" in text
    assert not is_gone(pid)
    assert site.page("/processes/stacks/none", 404)


def test_a_process_that_has_been_replaced_is_left_alone(site, tree):
    node = node_of(tree)
    pid = tree.child("pruner")["pid"]
    for wrong in ({"path": "pruner", "pid": pid + 1}, {"path": "nobody", "pid": pid}):
        assert "has ended meanwhile" in site.do(f"/processes/{node}/kill", **wrong)
    assert not is_gone(pid)
    assert "has ended meanwhile" in site.do("/processes/nowhere/kill", path="pruner", pid=pid)


def test_processes_are_measured_each_second_while_somebody_asks_for_it(site, tree):
    def measured():
        text = site.page("/processes?watch=1")
        return re.search(r'<td class="num nowrap">(?:<svg.*?</svg> )?\d+\.\d MB</td>', text)

    wait_until(measured, what="the memory of a process")


def test_a_death_is_a_ghost_for_a_while_and_stays_in_the_log(site, tree):
    node, pid = node_of(tree), tree.child("zombie_recovery")["pid"]
    site.do(f"/processes/{node}/kill", path="zombie_recovery", pid=pid)
    fresh = tree.replaced("zombie_recovery", pid)["pid"]

    def rows(path):
        """Return the log of a place as (pid, how it ended)."""
        text = site.page(f"/processes/log?node={node}&path={path}")
        row = r'<td class="num mono">(\d+)</td>.*?title="([^"]*)"'
        return re.findall(row, text, re.DOTALL)

    wait_until(
        lambda: {str(pid), str(fresh)} <= {each for each, _ in rows("zombie_recovery")},
        what="both lives in the log",
    )
    ended = dict(rows("zombie_recovery"))
    assert "killed" in ended[str(pid)]
    assert ended[str(fresh)] == ""
    (row,) = tree.sql(
        "SELECT ended_at >= ready_at AS was_ready FROM {s}.process_lives"
        f" WHERE path = 'zombie_recovery' AND pid = {pid}"
    )
    assert row["was_ready"]
    tree.sql(f"UPDATE {{s}}.process_lives SET ended_at = now() WHERE pid = {pid}")
    page = site.page("/processes")
    ghost = re.search(rf'<tr class="ghost"(?:(?!</tr>).)*<s>{pid}</s>.*?</tr>', page, re.DOTALL)
    assert ghost is not None
    assert "killed" in ghost[0]
    tree.sql(
        "UPDATE {s}.process_lives SET ended_at = now() - interval '31 s'"
        " WHERE ended_at IS NOT NULL RETURNING id"
    )
    assert f"<s>{pid}</s>" not in site.page("/processes")


def test_a_worker_s_lane_shows_what_it_ran_though_nobody_looked(site, tree):
    handle = tree.durable.start("failing", {"word": "x"}, queue="other")
    found = tree.until(handle, "failed", timeout=60)
    (ran_by,) = {step.process for step in found.steps}
    for chosen in ("1m", "5m", "3h", "nothing"):
        text = site.page(f"/processes/lanes?range={chosen}")
        bars = re.findall(rf"executions/{handle.id}/timeline[^>]*aria-label=\"([^\"]*)", text)
        assert [bar.split(", ")[:2] for bar in bars] == [
            ["failing:prepare", "attempt 1 completed"],
            ["failing:explode", "attempt 1 failed"],
            ["failing:explode", "attempt 2 failed"],
        ]
    pid = ran_by.partition(":")[2]
    assert f"(pid {pid})" in site.page(f"/executions/{handle.id}/history")
    assert "other/" in site.page(f"/executions/{handle.id}/timeline")


def test_a_queue_says_how_many_end_a_minute(site, tree):
    handle = tree.durable.start("failing", {"word": "x", "tame": True}, queue="other")
    tree.until(handle, "completed", timeout=60)

    def rate():
        text = site.page("/queues")
        other = text[text.index(">other</h2>") :]
        return float(re.search(r"<b>([\d.]+)</b><span>ended a minute", other)[1])

    assert wait_until(rate, what="its rate") > 0


def test_workers_say_how_many_they_have_done_and_the_tree_is_drawn(site, tree):
    before = sum(each["failed"] for each in tree.workers("other"))
    handle = tree.durable.start("failing", {"word": "x"}, queue="other")
    tree.until(handle, "failed", timeout=60)
    wait_until(
        lambda: sum(each["failed"] for each in tree.workers("other")) == before + 1,
        what="its failure",
    )
    assert sum(each["done"] for each in tree.workers("other")) > before
    wait_until(lambda: "1 failed</span>" in site.page("/processes"), what="it on the page")
    text = site.page("/processes?view=picture")
    pids = [each["pid"] for each in tree.workers("other")]
    assert all(re.search(rf"worker \d, pid {pid}, up", text) for pid in pids)
    assert "permanent, 30 s to stop" in text
    assert "one for one; beyond the budget ever more slowly" in text


def test_what_a_process_printed_before_it_died_is_with_its_ghost_and_in_the_log(site, tree):
    handle = tree.durable.start("dying", {})
    tree.until(handle, "failed", timeout=90)
    wait_until(lambda: "last words of it" in site.page("/processes/log"), what="the log")
    (life,) = tree.sql(
        "UPDATE {s}.process_lives SET ended_at = now() WHERE step = 'fall' RETURNING pid"
    )
    page = site.page("/processes")
    ghost = re.search(
        rf'<tr class="ghost"(?:(?!</tr>).)*<s>{life["pid"]}</s>.*?</tr>', page, re.DOTALL
    )
    assert ghost is not None
    assert "last words of it" in ghost[0]
    lanes = site.page("/processes/lanes")
    assert f"process {life['pid']}: " in lanes
    assert "dying:fall, attempt 1 failed" in lanes


def test_a_manager_that_gave_up_is_shown_as_an_escalation(postgres_dsn):
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn, schema, workflows()[0], queues={"q": 1}, supervisor={"max_restarts": 0}
        ) as tree,
        served(postgres_dsn, schema) as site,
    ):
        manager = tree.child("queue q")
        kill(manager["children"][0]["pid"], signal.SIGSEGV)
        tree.replaced("queue q", manager["pid"])
        wait_until(lambda: ">escalated</span>" in site.page("/processes"), what="the escalation")
        log = "/processes/log?path=queue%20q"
        wait_until(lambda: "workers died too often" in site.page(log), what="its reason")
