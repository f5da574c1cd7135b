"""``python -m tests.golden --write``: write this version's journal, with what became of it.

Done once, when a version is released; a journal that is there is never written again.
"""

import os
import sys
import tempfile
from pathlib import Path

from durable_otp import __version__
from durable_otp.storage.migrator import Migrator
from tests.golden.journal import JOURNALS, put, take, write
from tests.golden.story import WRITTEN_WITH, barrier, begin, resume
from tests.golden.workflows import WORKFLOWS
from tests.support.postgres import fresh_schema, session_server
from tests.support.tree import running


def make(dsn: str) -> Path:
    """Write the journal of this version and return its file."""
    with fresh_schema(dsn) as schema, fresh_schema(dsn) as another:
        with (
            barrier(),
            running(dsn, schema, *WORKFLOWS, queues={"default": 8}, **WRITTEN_WITH) as tree,
        ):
            ids = begin(tree)
            rows = take(dsn, schema)
            version = Migrator(dsn, schema).current_version()
            tree.runtime.stop(0)  # nobody waits for those that are held
        rows.pop("ledger", None)
        put(dsn, another, version, rows)
        told = resume(dsn, another, ids)
    journal = {
        "schema_version": version,
        "written_by": __version__,
        "executions": ids,
        "becomes": told,
        "rows": rows,
    }
    path = JOURNALS / f"schema_{version:04}_of_{__version__}.json"
    write(path, journal)
    return path


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.golden --write")
    with tempfile.TemporaryDirectory() as directory, session_server(Path(directory)) as dsn:
        sys.stdout.write(f"wrote {make(os.environ.get('DURABLE_TEST_DSN') or dsn)}\n")
