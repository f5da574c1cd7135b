"""Every button against a tree that runs: it does what it says, says so, and is written down."""

import re

import pytest

from durable_otp.dashboard.json_view import HIDDEN
from tests.support.dashboard import ASKED
from tests.support.waiting import wait_until

ANSWERS = {
    "text": ({"answer": "because"}, "because"),
    "approval": ({"answer": "approved"}, "approved"),
    "choice": ({"answer": "1"}, 2),
    "multi_choice": ({"answer": ["0", "1"]}, ["red", 2]),
    "form": (
        {"field-0": "7", "field-1": "2026-01-31", "field-2": "true", "field-3": "1"},
        {"amount": 7, "when": "2026-01-31", "sure": True, "size": 9},
    ),
}


def begun(tree, workflow, given, *statuses):
    handle = tree.durable.start(tree.workflows[workflow], given)
    tree.until(handle, *statuses, timeout=60)
    return handle


def audited(site):
    """Return the audit's lines as (action, target, outcome), the latest first."""
    text = site.page("/audit")
    target = r'<td class="mono cut">([^<]*)</td>'
    row = r'<td class="nowrap">([^<]+)</td>' + target + r"<td>(?:<span[^>]*>)?([^<]*)"
    return re.findall(row, text)


@pytest.mark.parametrize("kind", ASKED)
def test_a_person_answers_by_the_form_of_the_question(kind, site, tree):
    asking = begun(tree, "asking", {"type": kind, "parts": ASKED[kind]}, "waiting")
    page = site.page(f"/executions/{asking.id}")
    assert f'action="/executions/{asking.id}/input"' in page
    assert asking.id in site.page(f"/inputs?type={kind}")
    fields, answer = ANSWERS[kind]
    text = site.do(f"/executions/{asking.id}/input", name="question", **fields)
    assert "Answered “question”" in text
    assert tree.until(asking, "completed", timeout=60).output["answer"] == answer
    assert ("answer", asking.id, "done") in audited(site)


def test_a_wrong_answer_is_refused_in_a_sentence_and_the_question_stays(site, tree):
    asking = begun(tree, "asking", {"type": "form", "parts": ASKED["form"]}, "waiting")
    path = f"/executions/{asking.id}/input"
    assert "Field &#39;amount&#39; is required." in site.do(path, name="question")
    assert "must be a number" in site.do(path, name="question", **{"field-0": "x"})
    assert "asks for no input" in site.do(path, name="another")
    back = site.do(path, name="question", **{"field-0": "12 or so", "field-3": "1"})
    assert 'value="12 or so"' in back
    assert '<option value="1" selected>nine</option>' in back
    assert "is not JSON" in site.do(path, name="question", **{"as": "json", "json": "{"})
    assert asking.status() == "waiting"
    assert any(
        outcome.startswith("refused") for _, who, outcome in audited(site) if who == asking.id
    )


def test_an_answer_may_be_json(site, tree):
    asking = begun(tree, "asking", {"type": "form", "parts": ASKED["form"]}, "waiting")
    sent = {"as": "json", "json": '{"amount": 7.5, "size": "s"}'}
    assert "Answered" in site.do(f"/executions/{asking.id}/input", name="question", **sent)
    answer = tree.until(asking, "completed", timeout=60).output["answer"]
    assert (answer["amount"], answer["size"]) == (7.5, "s")


def test_an_event_is_sent(site, tree):
    waiting = begun(tree, "waiting", {}, "waiting")
    assert 'data-value="paid"' in site.page(f"/executions/{waiting.id}/events")
    path = f"/executions/{waiting.id}/event"
    assert "is not JSON" in site.do(path, name="paid", payload="{")
    assert "Sent “paid”" in site.do(path, name="paid", payload='{"sum": 3}')
    assert tree.until(waiting, "completed", timeout=60).output["paid"] == {"sum": 3}
    assert "{" in site.page(f"/executions/{waiting.id}/events")


def test_cancelling_ends_the_family_with_its_reason(site, tree):
    calling = begun(tree, "calling", {}, "waiting")
    page = site.page(f"/executions/{calling.id}")
    assert 'data-dialog="cancel"' in page
    assert 'data-dialog="retry"' not in page
    assert "Cancelled" in site.do(f"/executions/{calling.id}/cancel", reason="no longer wanted")
    ended = calling.execution()
    assert (ended.status, ended.error["message"]) == ("cancelled", "no longer wanted")
    assert {child.status for child in tree.durable.list_children(calling.id)} == {"cancelled"}
    assert "cancelled" in site.do(f"/executions/{calling.id}/cancel")
    assert ("cancel", calling.id, "done") in audited(site)


def test_retrying_goes_on_and_forking_begins_another(site, tree):
    failing = begun(tree, "failing", {"word": "no"}, "failed")
    page = site.page(f"/executions/{failing.id}")
    assert "<option>explode</option>" in page
    assert "goes on where it stopped" in site.do(f"/executions/{failing.id}/retry")
    wait_until(lambda: len(tree.recorded(failing)) == 5, timeout=60, what="two more attempts")
    tree.until(failing, "failed", timeout=60)
    text = site.do(f"/executions/{failing.id}/fork", step="explode")
    assert "this is the new execution" in text
    assert ">failing</h1>" in text
    assert "has not reached a step" in site.do(f"/executions/{failing.id}/fork", step="zz")


def test_a_workflow_is_started_with_typed_input(site, tree):
    page = site.page("/workflows/failing")
    assert 'name="input"' in page
    text = site.do("/workflows/failing/start", input='{"word": "hi", "tame": true}', priority="3")
    id_ = re.search(r"<code>([0-9a-f-]{36})</code>", text)[1]
    execution = tree.durable.get_execution(id_)
    assert (execution.input, execution.priority) == ({"word": "hi", "tame": True}, 3)
    assert "is not JSON" in site.do("/workflows/failing/start", input="{")
    answer = site.send("/workflows/nobody/start", input="{}")
    assert "No workflow" in site.page(answer.headers["location"], 404)


def test_a_schedule_is_switched_and_triggered(site, tree):
    tree.durable.create_schedule("by night/1", "waiting", "7 3 * * *", input={})
    path = "/schedules/by%20night%2F1"
    text = site.page("/schedules")
    assert "7 3 * * *" in text
    assert len(re.findall(r"<li>\d{4}-\d\d-\d\d 03:07:00 Z</li>", text)) == 5
    assert "is disabled" in site.do(f"{path}/disable")
    assert tree.durable.get_schedule("by night/1").enabled is False
    assert "is enabled" in site.do(f"{path}/enable")
    assert "runs now" in site.do(f"{path}/trigger")
    assert tree.durable.count_executions("waiting") >= 1
    assert "no schedule" in site.do("/schedules/none/enable").lower()


def test_a_schedule_is_made_changed_backfilled_and_deleted(site, tree):
    path = "/schedules/each%20day%2F2"
    fields = {
        "workflow": "waiting",
        "cron": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "input": '{"api_key": "sk-hidden", "n": 1}',
        "catch_up": "skip",
        "overlap": "skip",
        "jitter": "2.5",
    }
    assert 'href="/schedules/new"' in site.page("/schedules")
    assert "is made" in site.do("/schedules/new", name="each day/2", **fields)
    made = tree.durable.get_schedule("each day/2")
    assert (made.timezone, made.catch_up, made.overlap, made.jitter, made.enabled) == (
        *("Europe/Berlin", "skip", "skip", 2.5, False),
    )
    form = site.page(f"{path}/edit")
    assert "sk-hidden" not in form
    assert HIDDEN in form
    changed = {**fields, "input": f'{{"api_key": "{HIDDEN}", "n": 2}}', "cron": "0 4 * * *"}
    assert "is changed" in site.do(f"{path}/edit", **changed)
    made = tree.durable.get_schedule("each day/2")
    assert (made.cron, made.input) == ("0 4 * * *", {"api_key": "sk-hidden", "n": 2})
    times = {"from": "2026-01-10T00:00", "to": "2026-01-13T00:00"}
    assert "Started 3 runs" in site.do(f"{path}/backfill", **times)
    assert "Started 0 runs" in site.do(f"{path}/backfill", **times)
    assert site.page("/schedules").count("2026-01-11 03:00:00 Z: ") == 2  # its bead, said twice
    assert "from must be a time" in site.do(f"{path}/backfill", to="2026-01-13T00:00")
    assert "is deleted" in site.do(f"{path}/delete")
    assert "each day/2" not in {each.name for each in tree.durable.list_schedules()}


def test_what_was_typed_into_a_form_survives_its_refusal(site, tree):
    fields = {"name": "never made", "workflow": "waiting", "cron": "61 * * * *", "input": "[1]"}
    fields |= {"timezone": "UTC", "catch_up": "all", "overlap": "allow", "jitter": "0"}
    text = site.do("/schedules/new", **fields)
    assert "minute" in text
    for kept in ('value="never made"', 'value="61 * * * *"', "[1]</textarea>"):
        assert kept in text
    assert '<option value="all" selected>' in text
    assert "jitter must be a number" in site.do("/schedules/new", **{**fields, "jitter": "soon"})
    text = site.do("/workflows/failing/start", input='{"word": ', queue="a queue")
    assert "is not JSON" in text
    assert "{&#34;word&#34;: </textarea>" in text
    assert 'value="a queue"' in text


def test_an_execution_is_started_again_with_its_input_edited_and_its_secrets_kept(site, tree):
    given = {"word": "hi", "tame": True, "password": "hunter2"}
    first = begun(tree, "failing", given, "completed")
    link = f"/workflows/failing?like={first.id}"
    assert f'href="{link}#start"' in site.page(f"/executions/{first.id}")
    form = site.page(link)
    assert "hunter2" not in form
    assert f'name="like" value="{first.id}"' in form
    typed = f'{{"word": "ho", "tame": true, "password": "{HIDDEN}"}}'
    text = site.do("/workflows/failing/start", like=first.id, input=typed)
    id_ = re.search(r"<code>([0-9a-f-]{36})</code>", text)[1]
    assert id_ != first.id
    assert tree.durable.get_execution(id_).input == {**given, "word": "ho"}
    nothing = f'{{"token": "{HIDDEN}"}}'
    assert "nothing that it stands for" in site.do(
        "/workflows/failing/start", like=first.id, input=nothing
    )


def test_a_queue_is_paused_scaled_drained_and_resumed(site, tree):
    assert "is paused on all nodes" in site.do("/queues/other/pause")
    wait_until(lambda: tree.manager("other")["paused"], what="the pause")
    wait_until(lambda: "paused" in site.page("/queues"), what="the pause on the page")
    assert "goes on" in site.do("/queues/other/resume")
    wait_until(lambda: not tree.manager("other")["paused"], what="the end of the pause")
    assert "runs 2 at once" in site.do("/queues/other/scale", concurrency="2")
    wait_until(lambda: tree.manager("other")["concurrency"] == 2, what="two workers")
    assert "draining" in site.do("/queues/other/drain")
    wait_until(lambda: tree.manager("other")["paused"], what="the drain")
    site.do("/queues/other/resume")
    for wrong in ("0", "x", "-1", "999999"):
        assert "Concurrency must be" in site.do("/queues/other/scale", concurrency=wrong)
    assert "but PostgreSQL has" in site.do("/queues/other/scale", concurrency="9999")


def test_one_node_s_queue_is_paused_alone(site, tree):
    (node,) = {n["id"] for n in tree.sql("SELECT id FROM {s}.nodes")}
    assert f"on node {node[:8]}" in site.do("/queues/other/pause", node=node)
    wait_until(lambda: tree.manager("other")["paused"], what="the pause")
    site.do("/queues/other/resume", node=node)
    wait_until(lambda: not tree.manager("other")["paused"], what="the end of the pause")


def test_all_that_fit_are_cancelled_in_the_background(site, tree):
    tree.durable.start_many("waiting", [{}] * 250, queue="many")
    later = tree.durable.start("waiting", {}, queue="few")
    page = site.do("/bulk", verb="cancel", scope="filter", filter="queue=many&status=pending")
    path = re.search(r"/bulk/[0-9a-f-]{36}", page)[0]
    wait_until(lambda: "<dt>Done</dt><dd>250</dd>" in site.page(path), timeout=60, what="all")
    wait_until(lambda: "done</span>" in site.page(path), what="the end")
    assert tree.durable.count_executions(queue="many", status="cancelled") == 250
    assert later.status() == "pending"
    assert any("250 done, 0 refused" in outcome for _, _, outcome in audited(site))


def test_what_is_selected_is_retried_and_what_cannot_be_is_counted(site, tree):
    failing = [begun(tree, "failing", {"word": str(n)}, "failed") for n in range(2)]
    done = begun(tree, "failing", {"word": "x", "tame": True}, "completed")
    ids = [done.id, *(each.id for each in failing)]
    page = site.do("/bulk", verb="retry", scope="selected", selected=ids)
    path = re.search(r"/bulk/[0-9a-f-]{36}", page)[0]
    wait_until(lambda: "done</span>" in site.page(path), timeout=60, what="the end")
    text = site.page(path)
    assert "<dt>Done</dt><dd>2</dd>" in text
    assert "<dt>Refused</dt><dd>1</dd>" in text
    for each in failing:
        wait_until(lambda each=each: len(tree.recorded(each)) == 5, timeout=60, what="its attempts")


def test_nothing_selected_and_no_such_verb_are_refused(site):
    assert "Nothing is selected" in site.do("/bulk", verb="cancel", scope="selected")
    assert "There is no" in site.do("/bulk", verb="delete", scope="filter")


def test_the_doctor_finds_and_cures(site, tree):
    handle = begun(tree, "waiting", {}, "waiting")
    tree.sql("DELETE FROM {s}.waits WHERE execution_id = %s", handle.id)
    tree.sql(
        "UPDATE {s}.workflow_executions SET updated_at = now() - interval '1 day' WHERE id = %s",
        handle.id,
    )
    text = wait_until(
        lambda: (page := site.page("/doctor")) and "waits for nothing" in page and page,
        what="the finding",
    )
    assert handle.id in text
    assert "Cured: 1" in site.do("/doctor/zombies/cure")
    assert handle.status() == "failed"
    assert "nothing of this kind" in site.do("/doctor/zombies/cure")
    assert "nothing of this kind" in site.do("/doctor/nonsense/cure")
