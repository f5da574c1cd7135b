"""A dashboard as a browser meets it: served on a port of its own, over a real tree."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Self

import httpx
from pydantic import BaseModel, Field

from durable_otp import Retry, Workflow, wait_for_event
from durable_otp.dashboard.live import Hub
from durable_otp.dashboard.passwords import hashed
from durable_otp.dashboard.server import Server
from durable_otp.runtime.settings import DashboardSettings, DatabaseSettings
from durable_otp.workflow.orchestration import call_workflow
from durable_otp.workflow.wait import wait_for_input

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&{{7*7}}"
PROOF = re.compile(r'name="proof" value="([0-9a-f]+)"')
ASKED: dict[str, dict[str, Any]] = {
    "text": {},
    "approval": {},
    "choice": {"choices": ["red", {"value": 2, "label": "two"}]},
    "multi_choice": {"choices": ["red", {"value": 2, "label": "two"}]},
    "form": {
        "fields": [
            {"name": "amount", "type": "number", "label": "How much?", "required": True},
            {"name": "when", "type": "date"},
            {"name": "sure", "type": "boolean"},
            {"name": "size", "type": "select", "options": ["s", {"value": 9, "label": "nine"}]},
        ]
    },
}


def workflows() -> list[Workflow]:
    """Return what the tests run: one that asks, one that fails, one of every kind of node."""
    return [
        _asking(), _failing(), _shapes(), _waiting(), _calling(), _typed(), _dying()
    ]  # fmt: skip


class Size(Enum):
    """A choice."""

    SMALL = "s"
    LARGE = "l"


class Address(BaseModel):
    """An object in an object."""

    city: str = Field(min_length=2)
    zip: str | None = None


class Parcel(BaseModel):
    """One of every kind of field."""

    weight: int = Field(ge=1, le=50, title="Weight", description="In kilograms.")
    to: Address
    back_to: Address | None = None
    size: Size = Size.SMALL
    fragile: bool = False
    price: Decimal | None = None
    pickup: date | None = None
    labels: list[str] = []
    extras: dict[str, int] = {}
    api_key: str = "none"


def _typed() -> Workflow:
    typed = Workflow("typed", input=Parcel)

    @typed.step
    def take(ctx):
        return {"city": ctx.input.to.city, "heavy": ctx.input.weight > 20}

    return typed


def _asking() -> Workflow:
    asking = Workflow("asking")

    @asking.step
    def ask(ctx):
        kind = ctx["type"]
        return {"answer": wait_for_input("question", type=kind, prompt="Well?", **ctx["parts"])}

    return asking


def _failing() -> Workflow:
    failing = Workflow("failing", retry=Retry(max_attempts=2, base=0.01))

    @failing.step
    def prepare(ctx):
        print("prepared", ctx["word"])
        return {"prepared": True, "api_key": "sk-very-secret"}

    @failing.step
    def explode(ctx):
        if not ctx.get("tame"):
            raise ValueError(ctx["word"])

    return failing


def _shapes() -> Workflow:
    shapes = Workflow("shapes")

    with shapes.parallel(name="side_by_side"):

        @shapes.step
        def left(ctx):
            return {"left": 1}

        @shapes.step
        def right(ctx):
            return {"right": 2}

    @shapes.each("items")
    def pack(ctx, item):
        return item * 2

    with shapes.branch(lambda ctx: ctx["way"], name="way") as way:
        with way.case("a"):

            @shapes.step
            def taken(ctx):
                return {"took": "a"}

        with way.case("b"):

            @shapes.step
            def not_taken(ctx):
                return {"took": "b"}

    return shapes


def _waiting() -> Workflow:
    waiting = Workflow("waiting")

    @waiting.step
    def wait(ctx):
        return {"paid": wait_for_event("paid")}

    @waiting.compensate
    def undo(ctx):
        pass

    return waiting


def _dying() -> Workflow:
    dying = Workflow("dying", max_crashes=1)

    @dying.step
    def fall(ctx):
        print("last words of it")
        os.kill(os.getpid(), signal.SIGKILL)

    return dying


def _calling() -> Workflow:
    calling = Workflow("calling")

    @calling.step
    def call(ctx):
        return {"child": call_workflow("waiting", {})}

    return calling


@dataclass
class Site:
    """A dashboard and somebody at it."""

    client: httpx.Client
    base: str = ""
    hub: Hub | None = None

    def page(self, path: str, status: int = 200) -> str:
        """Return a page, which must have this status."""
        answer = self.client.get(self.base + path, headers={"Accept": "text/html"})
        assert answer.status_code == status, (path, answer.status_code, answer.text[-2000:])
        return answer.text

    def proof(self) -> str:
        """Return what the forms of this session carry."""
        found = PROOF.search(self.page("/"))
        assert found is not None
        return found[1]

    def send(self, path: str, /, **fields: Any) -> httpx.Response:
        """Press a button: send a form as a page of this site does."""
        return self.client.post(
            self.base + path,
            data={"proof": self.proof(), "next": "/executions", **fields},
            headers={"Sec-Fetch-Site": "same-origin"},
        )

    def do(self, path: str, /, **fields: Any) -> str:
        """Press a button and follow to the page it leads to; return that page."""
        answer = self.send(path, **fields)
        assert answer.status_code == 303, (path, answer.status_code, answer.text[-2000:])
        return self.page(answer.headers["location"].removeprefix(self.base))


@contextmanager
def served(dsn: str, schema: str, codecs: tuple[str, ...] = (), **settings: Any) -> Iterator[Site]:
    """Serve a dashboard on a port that is free."""
    database = DatabaseSettings(dsn, schema, codecs=codecs)
    server = Server(DashboardSettings(database, "127.0.0.1", 0, **settings))
    server.start()
    try:
        with httpx.Client(base_url=server.address.rstrip("/"), timeout=30) as client:
            yield Site(client, hub=server.hub)
    finally:
        server.stop()


def people() -> dict[str, Any]:
    """Return an operator, a viewer and a token, as they are configured."""
    return {
        "operators": {"ann": hashed("ann's word")},
        "viewers": {"bob": hashed("bob's word")},
        "token": hashed("a long token"),
    }


def sign_in(site: Site, name: str, password: str) -> httpx.Response:
    """Sign in as somebody."""
    return site.client.post("/login", data={"name": name, "password": password})


class Listener:
    """Hears what a page is told, in a thread, until it is left."""

    def __init__(self, site: Site, topics: str) -> None:
        self._site = site
        self._topics = topics
        self.told: list[str] = []
        self.lines = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _run(self) -> None:
        path = f"/live?topics={self._topics}"
        with (
            suppress(httpx.TransportError),
            httpx.Client(base_url=self._site.client.base_url, timeout=60) as client,
        ):
            client.cookies = self._site.client.cookies
            with client.stream("GET", path) as stream:
                for line in stream.iter_lines():
                    self.lines += 1
                    if self._over.is_set():
                        return
                    if line.startswith("data: "):
                        self.told += line.removeprefix("data: ").split()
