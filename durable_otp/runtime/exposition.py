"""Metrics in the text format of Prometheus, version 0.0.4. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from durable_otp.runtime.tree_view import flatten
from durable_otp.storage.nodes import Node
from durable_otp.workflow.execution import QueueStats
from durable_otp.workflow.state import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Samples = Iterable[tuple[Mapping[str, str], float]]


def exposition(
    *,
    is_database_up: bool,
    nodes: Sequence[Node],
    stats: Mapping[str, QueueStats],
    ages: Mapping[str, float],
) -> str:
    """Return every metric as text.

    Args:
        is_database_up: Whether the database answered; if not, nothing else is known.
        nodes: The living nodes.
        stats: How many executions there are, by queue.
        ages: For how many seconds the longest due execution has waited, by queue.
    """
    metrics: list[tuple[str, str, str, Samples]] = [
        ("database_up", "gauge", "Whether the database answers.", [({}, float(is_database_up))]),
    ]
    if is_database_up:
        metrics += [
            ("executions", "gauge", "Executions by queue and status.", _executions(stats)),
            ("scheduled", "gauge", "Pending executions that are not due yet.", _scheduled(stats)),
            ("oldest_due_seconds", "gauge", "How long the longest due execution has waited.",
             [({"queue": queue}, age) for queue, age in ages.items()]),
            ("nodes", "gauge", "Living nodes.", [({}, float(len(nodes)))]),
            ("processes", "gauge", "Processes of the living nodes.", _processes(nodes)),
            ("restarts_total", "counter", "Restarts of the processes that stand now.",
             _restarts(nodes)),
            ("queue_concurrency", "gauge", "Executions that a node may run at once.",
             _of_managers(nodes, "concurrency")),
            ("queue_busy", "gauge", "Workers of a node that run an execution.",
             _of_managers(nodes, "busy")),
            ("queue_paused", "gauge", "Whether a node claims nothing of a queue.",
             _of_managers(nodes, "paused")),
        ]  # fmt: skip
    return "".join(_metric(*metric) for metric in metrics)


def _metric(name: str, kind: str, text: str, samples: Samples) -> str:
    full = f"durable_otp_{name}"
    lines = [f"# HELP {full} {text}\n", f"# TYPE {full} {kind}\n"]
    return "".join([*lines, *(f"{full}{_labels(labels)} {value:g}\n" for labels, value in samples)])


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _executions(stats: Mapping[str, QueueStats]) -> Iterator[tuple[dict[str, str], float]]:
    for queue, counts in stats.items():
        for state in State:
            yield {"queue": queue, "status": state.value}, float(getattr(counts, state.value))


def _scheduled(stats: Mapping[str, QueueStats]) -> Iterator[tuple[dict[str, str], float]]:
    for queue, counts in stats.items():
        yield {"queue": queue}, float(counts.scheduled)


def _processes(nodes: Sequence[Node]) -> Iterator[tuple[dict[str, str], float]]:
    seen = Counter(
        (node.id, process["role"], process["status"])
        for node in nodes
        for process in flatten(node.tree or _NOTHING)
    )
    for (node_id, role, status), count in sorted(seen.items()):
        yield {"node": node_id, "role": role, "status": status}, float(count)


def _restarts(nodes: Sequence[Node]) -> Iterator[tuple[dict[str, str], float]]:
    seen: Counter[tuple[str, str]] = Counter()
    for node in nodes:
        for process in flatten(node.tree or _NOTHING):
            seen[node.id, process["role"]] += process["restarts"] or 0
    for (node_id, role), count in sorted(seen.items()):
        yield {"node": node_id, "role": role}, float(count)


def _of_managers(nodes: Sequence[Node], field: str) -> Iterator[tuple[dict[str, str], float]]:
    for node in nodes:
        for process in flatten(node.tree or _NOTHING):
            if process["role"] == "queue_manager" and process.get(field) is not None:
                labels = {"node": node.id, "queue": process["queue"]}
                yield labels, float(process[field])


_NOTHING = {"role": "supervisor", "status": "down", "restarts": 0, "children": ()}
