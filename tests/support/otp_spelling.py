"""What supervision says, as Erlang's oracle writes it in a trace."""

import re
from typing import Any

from durable_otp.otp import AlreadyPresent, ChildSpec, NotFound, NotSupported, Restarting, Running

ANSWERS = {
    NotFound: "not_found",
    Running: "running",
    Restarting: "restarting",
    AlreadyPresent: "already_present",
    NotSupported: "simple_one_for_one",
}


def spell(value: Any) -> str:
    """Return a value as Erlang writes it."""
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "{" + ",".join(map(spell, value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spell, value)) + "]"
    return str(value)


def reason(facts: dict) -> Any:
    """Return how a process ended."""
    match facts["reason"]:
        case "shutdown" if facts["term"] is not None:
            return ("shutdown", facts["term"])
        case "failed":
            return "error"
        case plain:
            return plain


def failure(fields: dict) -> Any:
    """Return why a child did not start."""
    match fields["kind"]:
        case "child":
            why = ("failed_to_start_child", fields["child_id"], failure(fields["cause"]))
            return ("shutdown", why)
        case "invalid":
            what, value = re.match(r"(.+) is not allowed to be (.+); use", fields["text"]).groups()
            return invalid(what, value.strip("'"))
        case _:
            return fields["text"]


_FLAGS = {"strategy", "intensity", "period", "auto_shutdown"}


def invalid(what: str, value: Any) -> Any:
    """Return what is wrong with a supervisor."""
    if what == "auto_shutdown" and value == "never":
        return ("start_spec", wrong_child(what, value))
    if what in _FLAGS:
        return ("supervisor_data", (f"invalid_{what}", value))
    return ("start_spec", wrong_child(what, value))


def wrong_child(what: str, value: Any) -> Any:
    """Return what is wrong with a child."""
    if what in ("auto_shutdown", "restart of a significant child"):
        name = "auto_shutdown" if what == "auto_shutdown" else "restart"
        return ("bad_combination", [(name, value), ("significant", True)])
    names = {"restart": "invalid_restart_type", "id": "duplicate_child_name"}
    return (names.get(what, f"invalid_{what}"), value)


def describe(action: dict) -> str:
    """Return the trace's line for an action."""
    words = [action["do"]]
    if "sup" in action:
        words.append(f"[{action['sup']}]")
    words += [str(action[key]) for key in ("id", "reason", "ms") if key in action]
    if "child" in action:
        words.append(action["child"]["id"])
    if "instance" in action:
        words.append(action["instance"])
    return " ".join(words) + (" (no settle)" if action.get("settle") is False else "")


def spec(child: ChildSpec) -> str:
    """Return a child's specification as `get_childspec` answers it."""
    shutdown = child.shutdown if isinstance(child.shutdown, str) else round(child.shutdown * 1000)
    return (
        f"{{ok,id={child.id} restart={child.restart} shutdown={shutdown} "
        f"significant={spell(child.significant)} type={child.type}}}"
    )
