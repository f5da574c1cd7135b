"""The source files of a project, and which of them have changed."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

Sources = dict[str, tuple[int, int]]
"""By a file's path, when it was written (in ns) and how long it is."""

NOT_OURS = ("__pycache__", "node_modules", "site-packages")
ENVIRONMENT = "pyvenv.cfg"


def sources(directories: Iterable[str], config: Path) -> Sources:
    """Return the Python files below directories, and the configuration, as they are now.

    Left out is what is hidden, and what virtual environments and package managers have put there.
    """
    found: Sources = {}
    for directory in directories:
        for path in _python_files(directory):
            _note(path, found)
    _note(config.resolve(), found)
    return found


def changed(before: Sources, after: Sources) -> list[str]:
    """Return the files that were written, made or removed, in order."""
    return sorted(path for path in before | after if before.get(path) != after.get(path))


def _python_files(directory: str) -> Iterator[Path]:
    for place, below, files in os.walk(directory):
        if ENVIRONMENT in files:
            below.clear()
            continue
        below[:] = [name for name in below if not name.startswith(".") and name not in NOT_OURS]
        yield from (Path(place, name) for name in files if name.endswith(".py"))


def _note(path: Path, found: Sources) -> None:
    try:
        facts = path.stat()
    except OSError:  # gone between the list and the look
        return
    found[str(path)] = (facts.st_mtime_ns, facts.st_size)
