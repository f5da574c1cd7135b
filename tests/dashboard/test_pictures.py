"""The pictures: layout, timeline and charts, as numbers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from durable_otp.dashboard.charts import HEIGHT, bars
from durable_otp.dashboard.flow import flow
from durable_otp.dashboard.flow_layout import drawing, every_node
from durable_otp.dashboard.timeline import timeline
from durable_otp.workflow.execution import Execution, StepExecution
from durable_otp.workflow.state import State, StepState

START = datetime(2026, 1, 1, tzinfo=UTC)


def step(path, **more):
    return {"path": path, "kind": "step", **more}


def branch(path, **clauses):
    return {
        "path": path,
        "kind": "branch",
        "clauses": [
            {"label": label, "values": [] if label == "default" else [label], "nodes": nodes}
            for label, nodes in clauses.items()
        ],
    }


def parallel(path, *nodes):
    return {"path": path, "kind": "parallel", "nodes": list(nodes)}


def at(seconds):
    return START + timedelta(seconds=seconds)


def attempt(path, begins, ends, status="completed", number=1):
    return StepExecution(
        id=f"{path} {number}",
        path=path,
        name=path,
        type="step",
        visit=1,
        attempt=number,
        status=StepState(status),
        output=None,
        error=None,
        logs=[],
        started_at=at(begins),
        completed_at=None if ends is None else at(ends),
        duration_ms=None if ends is None else 1000 * (ends - begins),
        is_compensation=False,
        compensation_for=None,
        child_id=None,
    )


def execution(steps=(), status="completed", ends=10.0, **more):
    return Execution(
        id="e",
        workflow="w",
        version="1",
        status=State(status),
        queue="default",
        priority=0,
        input=None,
        context=None,
        output=None,
        current_step=more.get("current_step"),
        error=None,
        parent_id=None,
        scheduled_at=START,
        started_at=at(2),
        completed_at=None if ends is None else at(ends),
        inserted_at=START,
        updated_at=START,
        locked_by=None,
        crashes=0,
        interruptions=0,
        steps=list(steps),
    )


# layout


def test_a_sequence_goes_down_on_one_axis():
    picture = drawing([step("a"), step("b"), step("c")])
    cards = {card.path: card for card in picture.cards if card.kind == "step"}
    assert cards["a"].y < cards["b"].y < cards["c"].y
    assert len({card.x for card in cards.values()}) == 1


def test_a_block_s_columns_are_beside_each_other_and_nothing_overlaps():
    nodes = [
        step("a"),
        branch("b", x=[step("b/x/1"), step("b/x/2")], default=[step("b/default/3")]),
        parallel("p", step("p/l"), branch("p/r", y=[step("p/r/y/z")]), step("p/m")),
    ]
    picture = drawing(nodes)
    cards = picture.cards
    assert {card.path for card in cards} - {""} == {node["path"] for node in every_node(nodes)}
    for one in cards:
        for other in cards:
            apart = (
                one.x + one.width <= other.x
                or other.x + other.width <= one.x
                or one.y + one.height <= other.y
                or other.y + other.height <= one.y
            )
            assert one is other or apart, (one, other)
        assert 0 <= one.x <= one.x + one.width <= picture.width
        assert 0 <= one.y <= one.y + one.height <= picture.height


shapes = st.recursive(
    st.just("step"),
    lambda inner: st.tuples(
        st.sampled_from(["branch", "parallel"]),
        st.lists(st.lists(inner, min_size=1, max_size=3), min_size=1, max_size=3),
    ),
    max_leaves=20,
)


def built(shape, path):
    if shape == "step":
        return step(path)
    kind, columns = shape
    if kind == "parallel":
        return parallel(path, *(built(c[0], f"{path}/{n}") for n, c in enumerate(columns)))
    clauses = {
        str(n): [built(each, f"{path}/{n}/{m}") for m, each in enumerate(column)]
        for n, column in enumerate(columns)
    }
    return branch(path, **clauses)


@given(st.lists(shapes, min_size=1, max_size=4))
def test_whatever_the_shape_every_node_has_a_place_and_none_overlaps(drawn):
    nodes = [built(shape, str(number)) for number, shape in enumerate(drawn)]
    picture = drawing(nodes)
    boxes = sorted((c.y, c.x, c.width, c.height) for c in picture.cards)
    assert len(boxes) == len(list(every_node(nodes))) + 2
    for y, x, width, _ in boxes:
        row = sorted(other for other in boxes if other[0] == y)
        assert x >= 0
        assert x + width <= picture.width
        for (_, left, wide, _), (_, right, _, _) in pairwise(row):
            assert left + wide <= right
    assert drawing(nodes) == picture  # and always the same


def test_a_decision_s_targets_are_drawn_as_jumps():
    nodes = [step("a"), step("d", kind="decision", targets=["a", "z"]), step("z")]
    jumps = [(edge.start, edge.end) for edge in drawing(nodes).edges if edge.kind == "jump"]
    assert jumps == [("d", "a"), ("d", "z")]


# what happened


def test_the_newest_attempt_says_how_a_node_is_and_gone_lines_are_known():
    nodes = [step("a"), branch("b", x=[step("b/x/c")], default=[step("b/default/d")]), step("e")]
    steps = [
        attempt("a", 2, 3, "failed"),
        attempt("a", 3, 4, number=2),
        attempt("b/x/c", 4, None, "running"),
    ]
    drawn = flow(
        {"nodes": nodes}, execution(steps, "running", None, current_step="b/x/c"), family=[]
    )
    tiers = {each.card.path: each.tier for each in drawn.cards if each.card.path}
    assert tiers == {"a": "ok", "b": "run", "b/x/c": "run", "b/default/d": "none", "e": "none"}
    assert next(c for c in drawn.cards if c.card.path == "a").seen.words.endswith("attempt 2")
    taken = {(e.edge.start, e.edge.end) for e in drawn.edges if e.taken}
    assert taken == {("", "a"), ("a", "b"), ("b", "b/x/c")}
    assert [c.card.path for c in drawn.cards if c.is_current] == ["b/x/c"]


def test_the_way_past_a_branch_is_gone_along_only_when_no_clause_was():
    nodes = [branch("b", x=[step("b/x/c")]), step("e")]
    chosen = [attempt("b", 1, 2), attempt("b/x/c", 2, 3), attempt("e", 3, 4)]
    for steps, past in ((chosen, False), ([chosen[0], chosen[2]], True)):
        drawn = flow({"nodes": nodes}, execution(steps, "completed", 4), family=[])
        ways = [e.taken for e in drawn.edges if e.edge.label == "otherwise"]
        ways += [e.taken for e in drawn.edges if e.edge.end == "otherwise"]
        assert ways == [past, past]


def test_a_timeline_is_no_longer_than_can_be_looked_at():
    steps = [attempt(f"s{n}", n, n + 1) for n in range(400)]
    drawn = timeline(execution(steps, "completed", 400), [], [], at(400))
    assert (len(drawn.lines), drawn.more) == (300, 101)  # one of them is the queue


def test_a_block_s_children_are_shown_on_its_columns_and_counted_on_an_each():
    nodes = [parallel("p", step("p/l"), step("p/r")), {"path": "each", "kind": "each"}]
    rows = [
        {"id": f"{path}{index}", "parent_id": "e", "parent_path": path, "parent_visit": 1}
        | {"parent_index": index, "status": status, "started_at": at(1)}
        | {"completed_at": at(3) if status != "running" else None}
        for path, index, status in (
            ("p", 0, "completed"),
            ("p", 1, "failed"),
            ("each", 0, "running"),
            ("each", 1, "completed"),
        )
    ]
    drawn = flow({"nodes": nodes}, execution((), "running", None), rows)
    seen = {each.card.path: each.seen for each in drawn.cards}
    assert (seen["p/l"].status, seen["p/l"].child_id) == ("completed", "p0")
    assert seen["p/r"].status == "failed"
    assert (seen["each"].status, seen["each"].words) == ("running", "1 of 2 ended")


# timeline


def test_a_timeline_shows_the_queue_the_attempts_and_the_waits_apart():
    steps = [attempt("a", 2, 3, "failed"), attempt("a", 5, 10, number=2)]
    wait = {"path": "a", "created_at": at(3), "answered_at": at(5), "kind": "event"}
    drawn = timeline(execution(steps), [wait | {"names": ["paid"], "input": None}], [], at(99))
    queued, line = drawn.lines
    assert (queued.bars[0].left, queued.bars[0].width) == (0, 20)
    assert [(bar.tier, bar.left, bar.width) for bar in line.bars] == [
        ("bad", 20, 10),
        ("ok", 50, 50),
        ("warn", 30, 20),
    ]
    assert "event “paid”" in line.bars[2].words
    assert line.attempts == 2
    assert drawn.span == "10 s"


def test_what_goes_on_goes_on_until_now():
    steps = [attempt("a", 2, None, "running")]
    drawn = timeline(execution(steps, "running", None), [], [], at(20))
    bar = drawn.lines[1].bars[0]
    assert bar.is_live
    assert bar.left + bar.width == 100
    assert drawn.is_live


@given(st.floats(0.0005, 3e8))
def test_marks_are_few_and_within(span):
    last = execution([attempt("a", 0, span)], ends=span)
    drawn = timeline(replace(last, started_at=START), [], [], START)
    assert 1 <= len(drawn.ticks) <= 8
    assert all(0 <= place <= 100.001 for place, _ in drawn.ticks)


# charts


def test_bars_are_stacked_to_the_highest():
    chart = bars([{"completed": 3, "failed": 1}, {}, {"completed": 2}])
    assert chart.most == 4
    assert sum(r.height for r in chart.rectangles[:2]) == HEIGHT
    assert [r.tier for r in chart.rectangles] == ["ok", "bad", "ok"]
    assert chart.rectangles[1].y == 0
