"""The living process tree of every node: who they are, how they are, and what they are doing."""

from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from durable_otp.client import Durable
from durable_otp.dashboard.actions import Done, Order, Perform, action
from durable_otp.dashboard.lanes import RANGES, USUAL, Window, keys_of, lanes_of, workers_of
from durable_otp.dashboard.rendering import console_of, render
from durable_otp.dashboard.sightings import sparkline
from durable_otp.dashboard.tree_picture import picture
from durable_otp.dashboard.tree_rows import TreeRow, rows_of, totals, with_ghosts
from durable_otp.errors import ProcessNotFound
from durable_otp.storage import dashboard, lives
from durable_otp.storage.lanes import ran_lately
from durable_otp.storage.nodes import silent_nodes
from durable_otp.storage.processes import Process

ORDER_SECONDS = 20.0
MOST_KEPT = 20
GHOST_SECONDS, MOST_GHOSTS = 30.0, 100
LOG_SHOWN, LONGEST_PLACE = 50, 400
MOST_ENDED = 500


def processes(request: Request) -> Response:
    """Show the tree of every living node.

    ``?watch=1`` has them measured each second; ``?view=picture`` draws it.
    """
    console = console_of(request)
    watch = request.query_params.get("watch") == "1"
    as_picture = request.query_params.get("view") == "picture"
    nodes = [node for node in console.client.nodes(watch=watch) if node.tree]
    console.sightings.take(nodes)
    ended = console.run(lives.lives_just_ended, GHOST_SECONDS, MOST_GHOSTS)
    words = console.run(lives.last_words, ended)
    trees: list[dict[str, Any]] = [
        {
            "node": node,
            "rows": with_ghosts(
                rows_of(node.tree), [e for e in ended if e["node_id"] == node.id], words
            ),
            "totals": totals(node.tree),
            "memory": {
                pid: (sparkline(points), min(points), max(points))
                for pid, points in console.sightings.memory(node.id).items()
            },
        }
        for node in nodes
    ]
    for tree in trees:
        tree["has_threads"] = any(isinstance(e, TreeRow) and e.threads for e in tree["rows"])
        tree["picture"] = picture(tree["rows"]) if as_picture else None
    return render(
        request,
        "processes.html",
        trees=trees,
        now=console.run(dashboard.now),
        watch=watch,
        as_picture=as_picture,
        lost=console.run(silent_nodes),
        ghosts_for=GHOST_SECONDS,
    )


def lanes(request: Request) -> Response:
    """Show what each worker ran when, within the time that ``?range=`` says."""
    console = console_of(request)
    chosen = request.query_params.get("range", USUAL)
    window_seconds = RANGES.get(chosen, RANGES[USUAL])
    nodes = [node for node in console.nodes() if node.tree]
    ended = console.run(lives.lives_just_ended, window_seconds, MOST_ENDED)
    died = [life for life in ended if life["role"] == "worker"]
    ran = console.run(
        ran_lately,
        window_seconds,
        keys_of(nodes, died),
        died_at={life["execution_id"] for life in died if life["execution_id"]},
        held={each.execution_id for node in nodes for each in workers_of(node)
              if each.execution_id},
    )  # fmt: skip
    window = Window(console.run(dashboard.now), window_seconds)
    shown = [{"node": node, "lanes": lanes_of(node, ran, died, window)} for node in nodes]
    return render(
        request,
        "lanes.html",
        nodes=shown,
        ranges=list(RANGES),
        chosen=chosen if chosen in RANGES else USUAL,
        seconds=window_seconds,
        complete_since=_if_within(ran.complete_since, window),
    )


def _if_within(since: datetime | None, window: Window) -> datetime | None:
    """Return since when nothing is missing, if that is not all the time that is shown."""
    return since if since is not None and window.x(since) > 1 else None


def log(request: Request) -> Response:
    """Show every life of every process, the newest first; ``?node=`` and ``?path=`` narrow it."""
    console, given = console_of(request), request.query_params
    narrowed = {
        key: given.get(key, "").replace("\0", "")[:LONGEST_PLACE] or None
        for key in ("node", "path")
    }
    found = console.run(
        lives.lives,
        limit=LOG_SHOWN + 1,
        node_id=narrowed["node"],
        path=narrowed["path"],
        after=given.get("after"),
    )
    return render(
        request,
        "process_log.html",
        lives=found[:LOG_SHOWN],
        words=console.run(lives.last_words, found[:LOG_SHOWN]),
        more=found[LOG_SHOWN - 1]["id"] if len(found) > LOG_SHOWN else None,
        after=given.get("after"),
        narrowed=narrowed,
        hosts={node.id: node.hostname for node in console.nodes()},
    )


def stacks(request: Request) -> Response:
    """Show the stacks of a process as they were when they were asked for."""
    text = console_of(request).stacks.get(request.path_params["id"])
    if text is None:
        return PlainTextResponse("These stacks are not kept any more.\n", 404)
    return render(request, "stacks.html", text=text)


def _meant(order: Order) -> Process:
    """Return the very process that the page showed: its place, its pid and its start."""
    node, path = order.path["node"], order.text("path")
    for each in order.console.client.nodes():
        for process in each.processes if each.id == node else ():
            if process.path == path and str(process.pid) == order.text("pid"):
                return process
    raise ProcessNotFound(f"Process {order.text('pid')} ({path}) has ended meanwhile.")


def _ordered(verb: str, words: str) -> Perform:
    """Return what has a process restarted, stopped or killed."""
    method = {
        "restart": Durable.restart_process,
        "stop": Durable.stop_process,
        "kill": Durable.kill_process,
    }[verb]

    def perform(order: Order) -> Done:
        process = _meant(order)
        answer = method(order.console.client, process, timeout=ORDER_SECONDS)
        order.console.hub.tell("nodes")
        detail = {"path": process.path, "pid": process.pid, "answer": answer}
        return Done(str(process), f"{process.name} {words}. {answer}", None, detail)

    return perform


def _dump(order: Order) -> Done:
    process = _meant(order)
    text = order.console.client.dump_stacks(process)
    key = f"{process.node[:8]}-{process.pid}"
    kept = order.console.stacks
    kept.pop(key, None)
    kept[key] = f"{process}\n\n{text}"
    for old in list(kept)[:-MOST_KEPT]:
        kept.pop(old, None)
    return Done(
        str(process), f"These are the stacks of {process.name}.", f"/processes/stacks/{key}"
    )


ROUTES = [
    Route("/processes", processes),
    Route("/processes/log", log),
    Route("/processes/lanes", lanes),
    Route("/processes/stacks/{id}", stacks),
    action("/processes/{node}/restart", "restart process", _ordered("restart", "was restarted")),
    action("/processes/{node}/stop", "stop process", _ordered("stop", "was stopped")),
    action("/processes/{node}/kill", "kill process", _ordered("kill", "was killed")),
    action("/processes/{node}/stacks", "dump stacks", _dump),
]
