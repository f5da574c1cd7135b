"""What programs ask and do: the pages' facts and deeds in JSON, under the pages' rights."""

import re

import pytest

from durable_otp.dashboard import app
from durable_otp.dashboard.json_view import HIDDEN
from durable_otp.dashboard.pages.api import READS
from durable_otp.dashboard.pages.api_actions import as_form
from tests.support.dashboard import ASKED, people, served

NOBODY = "01a2031b-bbf1-7f5f-8d85-b5c120001547"


def ask(site, path, status=200):
    """Return what is answered."""
    answer = site.client.get(f"/api{path}")
    assert answer.status_code == status, (path, answer.text)
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def tell(site, path, body=None, status=200):
    """Do something as a program with this session's cookie does."""
    headers = {"X-Durable-Proof": ask(site, "/session")["proof"]}
    answer = site.client.post(f"/api{path}", json=body, headers=headers)
    assert answer.status_code == status, (path, answer.text)
    return answer.json()


@pytest.fixture(scope="module")
def failed(tree):
    handle = tree.durable.start("failing", {"word": "of the api", "password": "hunter2"})
    tree.until(handle, "failed", timeout=60)
    return handle


def test_executions_are_found_by_the_filters_of_the_page_in_parts(site, tree, failed):
    queue = "asked by programs"
    handles = [tree.durable.start("waiting", {}, queue=queue) for _ in range(3)]
    first = ask(site, f"/executions?queue={queue}&limit=2")
    rest = ask(site, f"/executions?queue={queue}&limit=2&after={first['after']}")
    found = [row["id"] for row in first["executions"] + rest["executions"]]
    assert found == [each.id for each in reversed(handles)]
    assert rest["after"] is None
    row = next(
        each
        for each in ask(site, "/executions?workflow=failing&contains=word%3D%22of+the+api%22")[
            "executions"
        ]
        if each["id"] == failed.id
    )
    assert (row["status"], row["error_type"]) == ("failed", "ValueError")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", row["inserted_at"])


@pytest.mark.parametrize(
    "query",
    [
        *("status=dead", "status=failed,dead", "limit=0", "limit=x", "limit=201", "id=1"),
        *("range=9y", "parent=x", "wrong=1", "contains=%7B", "from=soon", "stuck=1"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(query, site):
    assert ask(site, f"/executions?{query}", 400)["error"].endswith(".")


def test_one_execution_has_its_attempts_and_no_secrets(site, failed):
    found = ask(site, f"/executions/{failed.id}")
    assert [step["attempt"] for step in found["steps"]] == [1, 1, 2]
    assert found["input"] == {"word": "of the api", "password": HIDDEN}
    assert found["context"]["api_key"] == HIDDEN
    assert [row["id"] for row in found["family"]] == [failed.id]
    assert "no execution" in ask(site, f"/executions/{NOBODY}", 404)["error"]


def test_every_page_s_facts_are_there(site, tree):
    tree.durable.start("asking", {"type": "form", "parts": ASKED["form"]})
    if not any(each.name == "of the api" for each in tree.durable.list_schedules()):
        tree.durable.create_schedule("of the api", "waiting", "0 * * * *", input={"token": "t"})
    for path in READS:
        if "{" not in path:
            assert ask(site, path.removeprefix("/api"))
    assert {"default", "other"} <= {each["queue"] for each in ask(site, "/queues")["queues"]}
    (node,) = ask(site, "/processes")["nodes"]
    assert node["tree"]["role"] == "supervisor"
    schedules = {each["name"]: each for each in ask(site, "/schedules")["schedules"]}
    assert schedules["of the api"]["input"] == {"token": HIDDEN}
    definition = ask(site, "/workflows/typed")
    assert definition["input_schema"]["properties"]["weight"]["maximum"] == 50
    assert ask(site, "/workflows/nobody", 404)["error"]
    assert ask(site, "/nowhere", 404)["error"]
    assert ask(site, "/bulk/none", 404)["error"]


def test_every_button_has_its_address_for_programs():
    paths = [
        route.path
        for route in app("postgresql:///unused").routes
        if "POST" in (getattr(route, "methods", None) or ())
    ]
    buttons = {path for path in paths if not path.startswith("/api/")} - {"/login", "/logout"}
    assert len(buttons) > 15
    assert {f"/api{path}" for path in buttons} == {
        each for each in paths if each not in buttons
    } - {
        "/login",
        "/logout",
    }


def test_a_program_starts_answers_sends_and_cancels(site, tree):
    begun = tell(site, "/workflows/waiting/start", {"input": {"n": 1}, "priority": 2})
    waiting = tree.durable.get_execution(begun["target"])
    assert (waiting.input, waiting.priority) == ({"n": 1}, 2)
    sent = tell(site, f"/executions/{waiting.id}/event", {"name": "paid", "payload": "text"})
    assert "Sent" in sent["done"]
    assert [each.payload for each in tree.durable.list_events(waiting.id)] == ["text"]
    asking = tree.durable.start("asking", {"type": "choice", "parts": ASKED["choice"]})
    tree.until(asking, "waiting", timeout=60)
    wrong = tell(site, f"/executions/{asking.id}/input", {"name": "question", "answer": 3}, 400)
    assert "must be one of" in wrong["error"]
    tell(site, f"/executions/{asking.id}/input", {"name": "question", "answer": 2})
    assert tree.until(asking, "completed", timeout=60).output["answer"] == 2
    path = f"/executions/{asking.id}"
    assert tell(site, f"{path}/cancel", {"reason": "late"}, 409)["error"]
    assert tell(site, f"/executions/{NOBODY}/cancel", None, 404)["error"]
    deeds = ask(site, "/audit?limit=200")["deeds"]
    assert ("cancel", asking.id) in [(each["action"], each["target"]) for each in deeds]


def test_a_body_that_is_none_is_refused(site):
    proof = {"X-Durable-Proof": ask(site, "/session")["proof"]}
    post = site.client.post
    path = "/api/queues/other/resume"
    as_json = proof | {"Content-Type": "application/json"}
    assert post(path, content=b"{", headers=as_json).status_code == 400
    assert post(path, content=b"[1]", headers=as_json).status_code == 400
    assert post(path, content=b"a=1", headers=proof).status_code == 415
    assert post(path, headers=proof).status_code == 200


def test_a_cookie_alone_changes_nothing_and_a_viewer_neither(site, tree):
    path = "/api/queues/other/resume"
    assert site.client.post(path, json={}).status_code == 403
    proof = ask(site, "/session")["proof"]
    foreign = {"X-Durable-Proof": proof, "Sec-Fetch-Site": "cross-site"}
    answer = site.client.post(path, json={}, headers=foreign)
    assert (answer.status_code, answer.json()) == (
        403,
        {"error": "Another site may not send this."},
    )
    with served(tree.dsn, tree.schema, read_only=True) as looking:
        assert ask(looking, "/session")["role"] == "viewer"
        assert "viewer" in tell(looking, "/queues/other/resume", {}, 403)["error"]


def test_a_token_is_enough_and_nobody_gets_nothing(tree):
    with served(tree.dsn, tree.schema, **people()) as site:
        assert ask(site, "/executions", 401) == {"error": "Sign in first."}
        site.client.headers["Authorization"] = "Bearer a long token"
        assert ask(site, "/session")["name"] == "token"
        answer = site.client.post("/api/queues/other/resume", json={})
        assert answer.status_code == 200, answer.text
        assert site.client.get("/readyz").text == "ok\n"


def test_what_does_not_answer_is_not_ready():
    with served("postgresql://somebody@127.0.0.1:1/nowhere", "durable") as site:
        assert site.client.get("/readyz").status_code == 503
        assert site.client.get("/healthz").status_code == 200
        assert ask(site, "/executions", 503)["error"]


def test_json_says_the_same_as_a_form():
    said = {"n": 2, "on": True, "off": False, "none": None, "ids": ["a"], "input": "x", "answer": 1}
    assert as_form(said) == {
        "n": "2",
        "on": "1",
        "off": "",
        "ids": ["a"],
        "input": '"x"',
        "as": "json",
        "json": "1",
    }
