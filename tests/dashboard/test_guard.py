"""Who is let in, who may act, and what no page gives away."""

import re

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from durable_otp.config import from_mapping
from durable_otp.dashboard import Access, Person, app
from durable_otp.dashboard.guard import CONTENT_SECURITY_POLICY
from durable_otp.dashboard.server import listening
from durable_otp.errors import ConfigError
from durable_otp.runtime.settings import DashboardSettings, DatabaseSettings
from tests.support.dashboard import Site, people, served, sign_in

PEOPLE = people()
NOBODY_S = "01a2031b-bbf1-7f5f-8d85-b5c120001547"


@pytest.fixture(scope="module")
def guarded(tree):
    """A dashboard that people have to sign in to."""
    with served(tree.dsn, tree.schema, **PEOPLE) as site:
        yield site


@pytest.fixture
def visitor(guarded):
    """Nobody yet."""
    guarded.client.cookies.clear()
    guarded.client.headers.pop("Authorization", None)
    return guarded


def posts(site):
    """Return every address that takes forms, with something for its parameters."""
    paths = [
        route.path
        for route in app("postgresql:///unused").routes
        if "POST" in (getattr(route, "methods", None) or ())
    ]
    assert len(paths) > 15
    return [re.sub(r"\{[^}]+\}", NOBODY_S, path) for path in paths]


def test_every_answer_carries_the_headers(site):
    for path in ("/", "/static/page.js", "/nowhere", "/executions/zz", "/healthz"):
        answer = site.client.get(path)
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert site.client.get("/").headers["cache-control"] == "no-store"


def test_a_name_that_is_not_this_machine_s_is_refused(site):
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", ""):
        assert site.client.get("/", headers={"Host": host}).status_code == 421
    assert site.client.get("/", headers={"Host": "localhost:1234"}).status_code == 200


def test_cookies_are_for_this_site_s_requests_alone(site):
    cookie = site.client.get("/").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_no_form_is_taken_without_the_session_s_proof(site):
    proof = site.proof()
    for path in posts(site):
        if path in ("/login", "/logout"):
            continue
        for wrong in ({}, {"proof": "0" * 64}, {"proof": proof[:-1]}):
            answer = site.client.post(path, data={"next": "/", **wrong})
            assert answer.status_code == 403, path
    site.client.cookies.clear()  # another session has another proof
    assert site.client.post("/bulk", data={"proof": proof}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_no_form_is_taken_from_another_site(site, headers):
    data = {"proof": site.proof(), "next": "/"}
    assert site.client.post("/queues/default/pause", data=data, headers=headers).status_code == 403


def test_a_form_leads_nowhere_else(site):
    for elsewhere in ("https://evil.example", "//evil.example", "/\\evil.example", "evil"):
        answer = site.send("/bulk", next=elsewhere)
        assert answer.headers["location"] == "/"


def test_who_is_not_signed_in_sees_nothing(visitor):
    answer = visitor.client.get("/executions?status=failed", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fexecutions%3Fstatus%3Dfailed"
    for path in ("/live", "/palette", "/executions", "/executions/x/raw/log.txt"):
        assert visitor.client.get(path, headers={"Accept": "*/*"}).status_code == 401
    for path in posts(visitor):
        if path not in ("/login", "/logout"):
            assert visitor.client.post(path, data={}).status_code == 401


def test_signing_in_leads_on_and_out_ends_it(visitor):
    assert sign_in(visitor, "ann", "bob's word").status_code == 401
    assert sign_in(visitor, "nobody", "").status_code == 401
    answer = visitor.client.post(
        "/login?next=%2Fqueues", data={"name": "ann", "password": "ann's word"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/queues")
    assert "ann (operator)" in visitor.page("/queues")
    visitor.client.post("/logout")
    assert visitor.client.get("/queues", headers={"Accept": "text/html"}).status_code == 303


def test_signing_in_leads_to_no_other_site(visitor):
    answer = visitor.client.post(
        "/login?next=%2F%2Fevil.example", data={"name": "ann", "password": "ann's word"}
    )
    assert answer.headers["location"] == "/"


def test_a_viewer_looks_and_does_not_act(visitor):
    sign_in(visitor, "bob", "bob's word")
    page = visitor.page("/queues")
    assert ">Pause<" not in page.replace('id="pause"', "")[page.index("<main") :]
    assert visitor.send("/queues/default/pause").status_code == 403
    proof = {"proof": visitor.proof()}
    for path in posts(visitor):
        if path not in ("/login", "/logout"):
            answer = visitor.client.post(
                path, data=proof, headers={"Sec-Fetch-Site": "same-origin"}
            )
            assert answer.status_code == 403, path
    visitor.client.cookies.clear()
    sign_in(visitor, "ann", "ann's word")
    assert visitor.send("/queues/other/resume").status_code == 303


VIEWED = (
    "/", "/workflows", "/workflows/typed", "/executions", "/inputs", "/schedules", "/queues",
    "/processes", "/processes?view=picture", "/processes/log", "/processes/lanes", "/doctor",
    "/audit", "/settings",
)  # fmt: skip


def test_no_page_offers_a_viewer_anything_that_acts(visitor, tree):
    handle = tree.durable.start("asking", {"type": "text", "parts": {}})
    tree.until(handle, "waiting", timeout=60)
    tree.durable.create_schedule("viewed", "waiting", "0 0 1 1 *", input={})
    sign_in(visitor, "bob", "bob's word")
    tabs = ("", "/flow", "/timeline", "/logs", "/data", "/history", "/events", "/family")
    for path in (*VIEWED, *(f"/executions/{handle.id}{tab}" for tab in tabs)):
        page = visitor.page(path)
        acts = re.findall(r'method="post" action="([^"]+)"|data-dialog="([^"]+)"', page)
        assert set(acts) == {("/logout", "")}, path
    for path in ("/schedules/new", "/schedules/viewed/edit"):
        assert "Operators make" in visitor.page(path, 403)
    tree.durable.delete_schedule("viewed")
    tree.durable.cancel(handle.id)


def test_a_forged_or_changed_session_is_none(visitor):
    sign_in(visitor, "bob", "bob's word")
    cookie = visitor.client.cookies["durable_session"]
    for forged in ("x", cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), "." + cookie):
        visitor.client.cookies.clear()
        visitor.client.cookies.set("durable_session", forged)
        assert visitor.client.get("/executions").status_code == 401


def test_a_token_lets_a_program_look_and_act(visitor):
    visitor.client.headers["Authorization"] = "Bearer a long token"
    assert visitor.client.get("/executions").status_code == 200
    answer = visitor.client.post("/queues/other/resume", data={"next": "/queues"})
    assert answer.status_code == 303
    visitor.client.headers["Authorization"] = "Bearer another"
    assert visitor.client.get("/executions").status_code == 401


def test_many_wrong_passwords_are_no_longer_looked_at(tree):
    with served(tree.dsn, tree.schema, viewers=PEOPLE["viewers"]) as site:
        codes = [sign_in(site, "bob", str(number)).status_code for number in range(12)]
        assert codes[0] == 401
        assert codes[-1] == 429
        assert sign_in(site, "bob", "bob's word").status_code == 429


def test_read_only_makes_viewers_of_all(tree):
    with served(tree.dsn, tree.schema, read_only=True) as site:
        assert "looking only" in site.page("/")
        assert site.send("/queues/default/pause").status_code == 403


def test_it_is_not_opened_to_others_without_a_password():
    database = DatabaseSettings("postgresql:///unused", "durable")
    with pytest.raises(ConfigError, match="open to everybody"):
        listening(DashboardSettings(database, "0.0.0.0", 0))
    with pytest.raises(ConfigError, match="other machines can reach"):
        from_mapping({"dashboard": {"host": "::"}}, environ={})
    listening(DashboardSettings(database, "0.0.0.0", 0, token=PEOPLE["token"])).close()


def test_a_taken_port_is_one_sentence():
    database = DatabaseSettings("postgresql:///unused", "durable")
    with listening(DashboardSettings(database, "127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}"):
            listening(DashboardSettings(database, "127.0.0.1", port))


def mounted(tree, access):
    """Return somebody at a dashboard that is mounted in another application."""
    host = Starlette(
        routes=[Mount("/ops/durable", app(tree.dsn, schema=tree.schema, access=access))]
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(host), base_url="http://shop.example")


@pytest.mark.anyio
async def test_mounted_in_a_host_every_link_is_below_the_mount_and_the_host_says_who(tree):
    def who(request):
        name = request.headers.get("x-user")
        return Person(name, "operator" if name == "ann" else "viewer") if name else None

    async with mounted(tree, Access(authorize=who)) as client:
        assert (await client.get("/ops/durable/")).status_code == 401
        answer = await client.get("/ops/durable/queues", headers={"X-User": "ann"})
        assert answer.status_code == 200
        links = re.findall(r'(?:href|src|action)="([^"#]*)"', answer.text)
        assert [link for link in links if link and not link.startswith("/ops/durable")] == []
        assert "Path=/ops/durable" in answer.headers["set-cookie"]
        style = next(link for link in links if "page.css" in link)
        assert (await client.get(style)).status_code == 200


@pytest.mark.anyio
async def test_mounted_without_access_it_answers_to_this_machine_s_names_alone(tree):
    async with mounted(tree, None) as client:
        assert (await client.get("/ops/durable/")).status_code == 421
        answer = await client.get("/ops/durable/", headers={"Host": "localhost"})
        assert answer.status_code == 200


@pytest.fixture
def anyio_backend():
    return "asyncio"


def test_nothing_secret_is_shown(tree, postgres_dsn):
    dsn = "postgresql://somebody:hunter2@127.0.0.1:1/nowhere"
    shown = {"durable": {"schema": "x"}}
    with served(dsn, "durable", shown=shown, **PEOPLE) as site:
        sign = site.client.headers
        sign["Authorization"] = "Bearer a long token"
        for path in ("/", "/settings", "/executions", "/doctor"):
            answer = site.client.get(path)
            assert answer.status_code == 503, path
            assert "hunter2" not in answer.text
            assert "scrypt" not in answer.text
            assert "Traceback" not in answer.text
    assert isinstance(site, Site)
