"""What happened is told in order, once, with a number; logs, the tree and metrics come from it."""

import os
import signal
from typing import Any

from durable_otp.otp import (
    ChildSpec,
    DynamicSupervisorSpec,
    Message,
    ParentLink,
    Root,
    RootHooks,
    SupervisorEvent,
    SupervisorFlags,
    SupervisorSpec,
)
from tests.support import otp_programs as programs
from tests.support.otp_programs import Grow
from tests.support.waiting import wait_until


class EchoEvents(RootHooks):
    """Tells the host what the root's owner hears."""

    def on_event(self, event: SupervisorEvent, root: Root) -> None:
        root.push("heard", event.to_fields())


class Answers(RootHooks):
    """Answers a child's question at once, and tells the host whether that went out."""

    def on_child_message(self, child_id: str, message: Message, root: Root) -> None:
        root.push("answered", {"sent": root.send(child_id, "answer")})


def ask_in_one_breath(parent: ParentLink) -> None:
    """Be ready and ask, and let the root hear both together."""
    os.kill(os.getppid(), signal.SIGSTOP)
    parent.ready()
    parent.send("question")
    os.kill(os.getppid(), signal.SIGCONT)
    programs.wait_for_the_stop(parent)


def tree() -> tuple[ChildSpec, ...]:
    pair = (ChildSpec("x", programs.obey), ChildSpec("y", programs.obey))
    nested = SupervisorSpec(SupervisorFlags("one_for_all", intensity=1, period=60), pair)
    pool = DynamicSupervisorSpec(ChildSpec("w", programs.obey, restart="temporary"))
    return ChildSpec("n", nested), ChildSpec("pool", pool)


def test_events_are_numbered_without_a_gap_over_the_whole_tree(grow: Grow) -> None:
    supervisor, story = grow(*tree())
    supervisor.child("pool").start_child(child_id="one")
    for death in range(2):
        os.kill(story.pid("n/x"), signal.SIGKILL)
        story.wait_for("started", "n/y", times=death + 2)
    supervisor.stop()
    assert [event.number for event in story] == list(range(1, len(story) + 1))


def test_the_story_of_an_escalation(grow: Grow) -> None:
    supervisor, story = grow(*tree()[:1])
    for death in range(2):
        os.kill(story.pid("n/x"), signal.SIGKILL)
        story.wait_for("started", "n/y", times=death + 2)
    supervisor.stop()
    up = ["started n/x", "started n/y"]
    assert story.lines() == [
        *up,
        "started n",
        *("stopped n/x", "restarting n/x", "stopped n/y", *up),
        *("stopped n/x", "gave_up n/x", "stopped n/y", "stopped n"),
        *("restarting n", *up, "started n"),
        *("stopped n/y", "stopped n/x", "stopped n"),
    ]


def test_every_event_says_what_a_log_needs(grow: Grow) -> None:
    supervisor, story = grow(ChildSpec("a", programs.obey), ChildSpec("b", programs.obey))
    os.kill(story.pid("a"), signal.SIGSEGV)
    story.wait_for("started", "a", times=2)
    supervisor.stop()
    first = story.told("started", "a")[0].facts
    assert set(first) == {"pid", "info"}
    stopped = story.told("stopped", "a")[0].facts
    assert {"pid": first["pid"], "clean": False, "reason": "failed"}.items() <= stopped.items()
    assert stopped["signal"] == "SIGSEGV"
    assert story.told("restarting", "a")[0].facts == {"restarts": 1, "delay": 0}
    assert story.told("stopped", "b")[0].facts["clean"]


def test_the_owner_in_the_root_and_the_host_hear_the_same(grow: Grow) -> None:
    heard: list[Any] = []

    def on_message(message: Message) -> None:
        if message.kind == "heard":
            heard.append(SupervisorEvent(**message.fields))

    supervisor, story = grow(*tree(), hooks=EchoEvents(), on_message=on_message)
    supervisor.stop()
    wait_until(lambda: len(heard) == len(story))
    assert heard == story


def test_a_child_that_asks_as_it_says_that_it_is_ready_is_answered(grow: Grow) -> None:
    answered: list[bool] = []

    def on_message(message: Message) -> None:
        if message.kind == "answered":
            answered.append(message.fields["sent"])

    supervisor, _ = grow(ChildSpec("a", ask_in_one_breath), hooks=Answers(), on_message=on_message)
    wait_until(lambda: answered)
    supervisor.stop()
    assert answered == [True]


def test_the_pushed_tree_agrees_with_the_events(grow: Grow) -> None:
    supervisor, story = grow(*tree())
    os.kill(story.pid("n/y"), signal.SIGKILL)
    story.wait_for("started", "n/y", times=2)

    def pids() -> dict[str, int]:
        nested, pool = supervisor.last_tree["children"]
        below = {f"n/{node['id']}": node["pid"] for node in nested["children"]}
        return {"n": nested["pid"], "pool": pool["pid"], **below}

    wait_until(lambda: pids() == {path: story.pid(path) for path in ("n", "pool", "n/x", "n/y")})
