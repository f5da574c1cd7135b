"""What a ledger cannot know and somebody else has to say: I-17, I-18, I-19, I-22, I-24.

Processes, connections, values that were read back, and texts that were written somewhere.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

_ENDED = re.compile(
    r'child_stopped +child=(?P<child>"[^"]*"|\S+) pid=(?P<pid>\d+) clean=(?P<clean>\w+) '
    r'reason=(?P<reason>"[^"]*"|\S+)(?: by_supervisor=(?P<by_order>\w+))?'
)


def no_process_is_left(pids: Iterable[int]) -> list[str]:
    """I-17: none of these processes lives on after its root, and none is a zombie."""
    return [f"I-17 process {pid} is left ({state})" for pid in pids if (state := _state(pid))]


def nothing_leaks(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """I-17: descriptors stay within 2 of what they were, memory (``rss...``) within a tenth."""
    found = []
    for name, first in before.items():
        margin = first * 0.1 if name.startswith("rss") else 2
        if after[name] > first + margin:
            found.append(f"I-17 {name} has grown from {first:g} to {after[name]:g}")
    return found


def restarts_have_reasons(log: str, killed: Container[int]) -> list[str]:
    """I-18: no child of a node's root has ended but by order, or because somebody killed it.

    So a crash in one queue restarts nothing of another, and no supervisor restarts more often than
    something was broken.

    Args:
        log: What the node has written.
        killed: The processes that were killed on purpose, with whatever went with them.
    """
    return [
        f"I-18 {ended['child']} (pid {ended['pid']}) has ended of itself: {ended['reason']}"
        for ended in _ENDED.finditer(log)
        if ended["clean"] == "False"
        and ended["by_order"] != "True"
        and int(ended["pid"]) not in killed
    ]


def connections_are_bounded(
    connections: Iterable[Mapping[str, Any]], most: Mapping[str, int]
) -> list[str]:
    """I-19: no role has more connections than it may, and none is held by two processes.

    ``connections`` are those of the proxy's status with owners, ``most`` the number by what an
    ``application_name`` begins with.
    """
    found = []
    counts: Counter[str] = Counter()
    for connection in connections:
        app, owners = connection["app"], connection.get("client_pids", [])
        counts.update(prefix for prefix in most if app.startswith(prefix))
        if len(owners) > 1:
            found.append(f"I-19 the connection {connection['id']} of {app} is held by {owners}")
    return found + [
        f"I-19 {role} has {count} connections, and {most[role]} are allowed"
        for role, count in counts.items()
        if count > most[role]
    ]


def a_value_comes_back(written: Any, read: Any) -> list[str]:
    """I-22: what was accepted is read back equal, types included."""
    if _typed(written) == _typed(read):
        return []
    return [f"I-22 {written!r} came back as {read!r}"]


def secrets_are_kept(texts: Mapping[str, str], canary: str) -> list[str]:
    """I-24: a password occurs in nothing that anybody can read."""
    return [f"I-24 the password is in {place}" for place, text in texts.items() if canary in text]


def _state(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rpartition(")")[2].split()[0]


def _typed(value: Any) -> Any:
    """Return a value in which True is not 1, nor 1 the same as 1.0."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return type(value).__name__, value
