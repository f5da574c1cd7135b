"""The recipes of docs/integrations.md, as the files that their first lines name."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from durable_otp import Durable, Runtime
from durable_otp.client.handle import Handle

PAGE = Path(__file__).parents[2] / "docs/integrations.md"
_FILE = re.compile(
    r"^```(?:python|sql)\n(?:#|--) (\S+|cell \d)\n(.*?)^```", re.MULTILINE | re.DOTALL
)


def recipes() -> dict[str, str]:
    """Return the page's code by the name of its file."""
    return dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))


def write(root: Path, *names: str) -> None:
    """Write files of the page below a directory, each in a package."""
    found = recipes()
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found[name], encoding="utf-8")
        for package in path.relative_to(root).parents[:-1]:
            (root / package / "__init__.py").touch()


def executed(name: str) -> dict[str, Any]:
    """Run a file of the page here, and return what it defines."""
    namespace: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(recipes()[name], name, "exec"), namespace)
    return namespace


@contextmanager
def fulfilling(dsn: str) -> Iterator[Durable]:
    """Give the client of a tree that runs the page's workflow in the schema `durable`."""
    fulfil = executed("shop/workflows.py")["fulfil"]
    with (
        Runtime(dsn=dsn, workflows=[fulfil], queues={"default": 2}),
        Durable(dsn) as durable,
    ):
        durable.start(fulfil, {"order": 0})  # so that it is published
        yield durable


def packed(durable: Durable, execution_id: object) -> Any:
    """Return what comes out of an execution of the page's workflow."""
    return Handle(str(execution_id), durable).result(timeout=60)["packed"]
