"""Testing workflows: in memory and without waiting, or on a schema that is thrown away.

`run_inline` and `WorkflowTester` give executions to the real engine; what it asks of PostgreSQL and
of its process is done in memory here. `plugin` brings the pytest fixtures. Nothing is imported
before it is asked for, because pytest loads the plugin in every project it is installed in.
"""

from importlib import import_module
from typing import Any

_HOME = {"WorkflowTester": "tester", "run_inline": "inline"}

__all__ = ["WorkflowTester", "run_inline"]


def __getattr__(name: str) -> Any:
    """Import a name's module when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
