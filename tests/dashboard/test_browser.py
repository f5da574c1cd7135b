"""The pages in a real browser: nothing refused, nothing inaccessible, everything by keys."""

import psycopg
import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.browser import DESK, PHONE, chromium
from tests.support.dashboard import ASKED, HOSTILE, people, served
from tests.support.waiting import wait_until

PAGES = (
    "/", "/workflows", "/workflows/shapes", "/executions", "/executions?contains=word%3Dx&step=z",
    "/inputs", "/schedules", "/schedules/new", "/schedules/hourly/edit", "/queues", "/processes",
    "/doctor", "/audit", "/settings", "/nowhere", "/processes/log", "/processes/lanes",
    "/processes?watch=1", "/processes?view=picture", "/workflows/typed",
    "/workflows/typed?input=%7B%22weight%22%3A99%7D&checked=1",
)  # fmt: skip
TABS = ("", "/flow", "/timeline", "/logs", "/data", "/history", "/events", "/family")
LOOKS = {
    "light": ("light", DESK),
    "dark": ("dark", DESK),
    "phone": ("light", PHONE),
    "phone, dark": ("dark", PHONE),
}

pytestmark = [
    pytest.mark.timeout(400),
    # selenium's own connections are closed by the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def session_browser(session_site, tree):
    with chromium() as browser:
        browser.base = str(session_site.client.base_url)
        yield browser


@pytest.fixture
def browser(session_browser):
    session_browser.look()
    session_browser.complaints()
    return session_browser


@pytest.fixture(scope="module")
def scene(tree):
    """Something on every page; return what has failed and what has shapes."""
    failed = tree.durable.start("failing", {"word": HOSTILE})
    shaped = tree.durable.start("shapes", {"items": [1, 2], "way": "a"})
    tree.durable.start("asking", {"type": "form", "parts": ASKED["form"]})
    tree.durable.start("waiting", {})
    if not any(each.name == "hourly" for each in tree.durable.list_schedules()):
        tree.durable.create_schedule("hourly", "waiting", "0 * * * *", input={})
    tree.until(failed, "failed", timeout=90)
    tree.until(shaped, "completed", timeout=90)
    return failed, shaped


def addresses(scene):
    failed, shaped = scene
    parts = [f"/executions/{failed.id}{tab}" for tab in TABS]
    return [*PAGES, *parts, *(f"/executions/{shaped.id}{tab}" for tab in ("/flow", "/timeline"))]


def faults(browser, path):
    """Return what is wrong with a page."""
    browser.open(path)
    found = [f"{path}: {each}" for each in browser.findings()]
    found += [f"{path}: {each}" for each in browser.complaints() if "404" not in each]
    if browser.is_wider_than_its_window():
        found.append(f"{path} scrolls sideways")
    return found


def test_a_few_pages_are_refused_nothing_and_have_no_serious_finding(browser, scene):
    few = ("/", "/executions", "/inputs", f"/executions/{scene[0].id}")
    assert [fault for path in few for fault in faults(browser, path)] == []


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
def test_no_page_is_refused_anything_or_has_a_serious_finding(look, browser, scene):
    browser.look(*LOOKS[look])
    assert [fault for path in addresses(scene) for fault in faults(browser, path)] == []


def test_the_palette_leads_anywhere_and_does_things_by_keys(browser, tree):
    browser.open("/")
    browser.press("k", hold=Keys.CONTROL)
    browser.press(*"workfl")
    wait_until(lambda: "Workflows" in browser.find("#palette-list").text, what="the hit")
    browser.press(Keys.ENTER)
    browser.at("/workflows")
    browser.press("k", hold=Keys.CONTROL)
    browser.press(*"pause queue other")
    wait_until(lambda: "pause queue other" in browser.find("#palette-list").text, what="the order")
    marked = browser.find("#palette-field").get_attribute("aria-activedescendant")
    assert browser.find(f"#{marked}").get_attribute("aria-selected") == "true"
    browser.press(Keys.ENTER)
    browser.sees("Queue other is paused")
    tree.durable.resume_queue("other")
    browser.press("k", hold=Keys.CONTROL)
    browser.press(Keys.ESCAPE)
    assert not browser.find("#palette").get_attribute("open")


def test_pages_rows_and_search_are_reached_by_keys(browser, scene):
    browser.open("/")
    browser.press("g", "e")
    browser.at("/executions")
    browser.press("/")
    assert "workflow" in browser.said()
    browser.press(*"failing", Keys.ENTER)
    browser.at("workflow=failing")
    browser.press("j", "j", "k", Keys.ENTER)
    browser.at("/executions/0")
    assert "failing" in browser.text()
    browser.press("?")
    assert browser.find("#help").get_attribute("open") is not None
    browser.press(Keys.ESCAPE)


def test_an_execution_is_cancelled_by_keys_and_escape_keeps_it(browser, tree):
    handle = tree.durable.start("waiting", {})
    tree.until(handle, "waiting", timeout=60)
    browser.open(f"/executions/{handle.id}")
    opener = browser.tab_to("Cancel…")
    browser.press(Keys.ENTER)
    assert browser.find("#cancel").get_attribute("open") is not None
    browser.press(Keys.ESCAPE)
    assert browser.driver.switch_to.active_element == opener  # the focus is given back
    browser.press(Keys.ENTER)
    browser.press(*"by hand")
    browser.tab_to("Cancel it")
    browser.press(Keys.ENTER)
    browser.sees("Cancelled")
    assert handle.execution().error["message"] == "by hand"


def test_a_question_is_answered_by_keys(browser, tree):
    handle = tree.durable.start("asking", {"type": "form", "parts": ASKED["form"]})
    tree.until(handle, "waiting", timeout=60)
    browser.open(f"/executions/{handle.id}")
    browser.tab_to("field-0")
    browser.press(*"12", Keys.ENTER)
    browser.sees("Answered")
    assert tree.until(handle, "completed", timeout=60).output["answer"]["amount"] == 12


def test_a_page_shows_what_happens_and_keeps_what_was_opened(browser, tree):
    queue = "seen live"
    browser.open(f"/executions?queue={queue}")
    browser.sees("live")
    assert "No executions match" in browser.text()
    browser.driver.execute_script("document.querySelector('details.more').open = true")
    browser.driver.execute_script("window.same = true")
    tree.durable.start("waiting", {}, queue=queue)
    browser.sees("1 execution")
    box = browser.find("input[name=selected]")
    box.click()
    tree.durable.start("waiting", {}, queue=queue)
    browser.sees("2 executions")
    assert browser.driver.execute_script("return window.same")  # not loaded again
    assert browser.find("details.more").get_attribute("open")
    assert (
        browser.driver.execute_script(
            "return document.querySelectorAll('input[name=selected]:checked').length"
        )
        == 1
    )


def test_a_viewer_signs_in_looks_and_is_offered_nothing_that_acts(browser, tree, scene):
    with served(tree.dsn, tree.schema, **people()) as site:
        ours, browser.base = browser.base, str(site.client.base_url).rstrip("/")
        try:
            browser.open(f"/executions/{scene[0].id}")
            browser.at("/login")
            browser.press(*"bob", Keys.TAB, *"bob's word", Keys.ENTER)
            browser.at(f"/executions/{scene[0].id}")
            assert "bob (viewer)" in browser.text()
            assert browser.orders() == []
            browser.press("g", "p")
            browser.at("/processes")
            browser.tab_to("More about")
            browser.press(Keys.ENTER)
            browser.sees("one for one")
            assert browser.orders() == []
            browser.press("k", hold=Keys.CONTROL)
            browser.press(*"pause queue other")
            browser.sees("Nothing of this name")
            browser.press(Keys.ESCAPE)
            browser.tab_to("Sign out")
            browser.press(Keys.ENTER)
            browser.at("/login")
        finally:
            browser.base = ours


def test_a_view_is_kept_in_the_browser_and_forgotten(browser):
    browser.open("/executions?status=failed")
    browser.tab_to("Saved views")
    browser.press(Keys.ENTER, Keys.TAB, *"the bad ones", Keys.ENTER)
    browser.sees("the bad ones")
    browser.open("/executions")
    browser.tab_to("Saved views")
    browser.press(Keys.ENTER, Keys.TAB)
    assert browser.said().strip() == "the bad ones"
    browser.press(Keys.ENTER)
    browser.at("status=failed")
    browser.tab_to("Saved views")
    browser.press(Keys.ENTER)
    browser.tab_to("Forget the bad ones")
    browser.press(Keys.ENTER)
    wait_until(lambda: "the bad ones" not in browser.text(), what="it forgotten")


def test_the_theme_is_kept(browser):
    browser.look("light")
    browser.open("/")
    browser.find("#theme").click()
    browser.open("/queues")
    assert browser.find("html").get_attribute("data-theme") == "dark"
    browser.find("#theme").click()
    assert browser.find("html").get_attribute("data-theme") == "light"


WATCH_FOR_BONES = """
new MutationObserver(() => {
    const bones = document.querySelector("main[aria-busy] > .skeleton");
    const live = document.getElementById("live");
    if (bones) sessionStorage.setItem("bones", getComputedStyle(live).display);
}).observe(document.getElementById("main"), {childList: true});
"""


@pytest.mark.slow  # until the question is given up
def test_a_page_that_takes_long_is_announced_by_bones_and_then_says_why(browser, tree):
    browser.open("/")
    browser.driver.execute_script(WATCH_FOR_BONES)
    with psycopg.connect(tree.dsn) as other:
        other.execute(f"LOCK TABLE {tree.schema}.workflow_executions".encode())
        browser.find("nav a[href='/executions']").click()
        browser.sees("That takes too long")
    assert browser.driver.execute_script("return sessionStorage.getItem('bones')") == "none"
    assert not browser.driver.find_elements("css selector", ".skeleton")


def test_a_page_that_cannot_be_refreshed_says_so_until_it_can(browser):
    browser.open("/")
    stale = browser.find("#stale")
    assert not stale.is_displayed()
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": [f"{browser.base}/*"]})
    try:
        browser.driver.execute_script("window.durable.refresh()")
        wait_until(stale.is_displayed, what="what is said")
        assert "could not be refreshed" in stale.text
    finally:
        browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    browser.driver.execute_script("window.durable.refresh()")
    wait_until(lambda: not stale.is_displayed(), what="the end of it")


def test_a_form_is_sent_once_and_its_button_says_that_it_is_on_its_way(browser):
    browser.open("/schedules/new")
    for name, value in {"name": "by keys", "workflow": "waiting", "cron": "0 5 * * *"}.items():
        browser.tab_to(name)
        browser.press(value)
    button = browser.tab_to("Make it")
    browser.driver.execute_script(
        "window.sent = 0; addEventListener('submit', (event) => {"
        "  if (!event.defaultPrevented) window.sent += 1; event.preventDefault(); });"
    )
    browser.press(Keys.ENTER)
    browser.press(Keys.ENTER)
    assert button.get_attribute("aria-busy") == "true"
    assert browser.driver.execute_script("return window.sent") == 1


def entered(browser, words, *, most=160):
    """Go to a button by Tab and press it."""
    browser.tab_to(words, most)
    browser.press(Keys.ENTER)


def scheduled(tree, name):
    if not any(each.name == name for each in tree.durable.list_schedules()):
        tree.durable.create_schedule(name, "waiting", "0 0 * * *", input={}, enabled=False)


def test_a_workflow_is_started_by_keys_with_the_fields_of_its_type(browser, tree):
    browser.open("/workflows/typed?input=%7B%7D")  # else the newest one's input is filled in
    for name, value in (("field/weight", "12"), ("field/to/city", "Ulm"), ("field/labels", "a")):
        browser.tab_to(name)
        browser.press(*value)
    entered(browser, "Another entry")
    browser.press(*"b")
    browser.driver.execute_script("document.querySelector('details.fallback').open = false")
    entered(browser, "Start ")
    browser.sees("Started typed")
    id_ = browser.driver.current_url.rpartition("/")[2]
    given = tree.durable.get_execution(id_).input
    assert (given["weight"], given["to"], given["labels"]) == (12, {"city": "Ulm"}, ["a", "b"])


@pytest.mark.slow  # many tabs on a busy machine
def test_a_schedule_is_backfilled_and_deleted_by_keys(browser, tree):
    scheduled(tree, "by keys alone")
    browser.open("/schedules")
    entered(browser, "Backfill by keys alone")
    browser.press("01012026", Keys.TAB, "1200AM")  # a dialog begins with its first field
    browser.tab_to("to")
    browser.press("01042026", Keys.TAB, "1200AM")
    entered(browser, "Start them")
    browser.sees("runs of by keys alone")
    browser.open("/schedules")
    entered(browser, "Delete by keys alone")
    browser.press(Keys.ESCAPE)
    assert any(each.name == "by keys alone" for each in tree.durable.list_schedules())
    entered(browser, "Delete by keys alone")
    entered(browser, "Delete it")
    browser.sees("is deleted")
    assert all(each.name != "by keys alone" for each in tree.durable.list_schedules())


@pytest.mark.slow  # many tabs on a busy machine
def test_a_queue_is_paused_resumed_and_scaled_by_keys(browser, tree):
    browser.open("/queues")
    entered(browser, "Pause other")
    browser.sees("Queue other is paused")
    entered(browser, "Resume other")
    browser.sees("Queue other goes on")
    browser.tab_to("Pause other")
    browser.tab_to("concurrency")
    browser.press("2", Keys.ENTER)
    browser.sees("Queue other runs 2 at once")
    scaled = lambda: tree.child("queue other")["concurrency"] == 2  # noqa: E731
    wait_until(scaled, what="the manager that was told")
    tree.durable.scale_queue("other", 1)


@pytest.mark.slow  # many tabs on a busy machine
def test_a_process_is_restarted_and_killed_by_keys(browser, tree):
    for verb, said in (("Restart", "was restarted"), ("Kill", "was killed")):
        pid = tree.child("wait_timeouts")["pid"]
        browser.open("/processes")
        entered(browser, "Orders to wait timeouts")
        entered(browser, f"{verb} wait timeouts")
        browser.sees(said)
        assert tree.replaced("wait_timeouts", pid)["pid"] != pid
    browser.sees("ended")
    assert browser.driver.find_elements("css selector", "tr.ghost")
