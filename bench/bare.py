"""The floor of the footprint: forked processes with a psycopg connection and nothing else.

``python -m bench.bare DSN COUNT`` prints their pids and keeps them until its input ends.
"""

import gc
import os
import signal
import sys

import psycopg


def main() -> None:
    """Fork, tell, wait."""
    dsn, count = sys.argv[1], int(sys.argv[2])
    gc.freeze()
    ready, tell = os.pipe()
    pids = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            connection = psycopg.connect(dsn, autocommit=True)
            connection.execute("SELECT 1")
            os.write(tell, b".")
            signal.pause()
        pids.append(pid)
    for _ in pids:
        os.read(ready, 1)
    print(*pids, flush=True)
    sys.stdin.read()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
