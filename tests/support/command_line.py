"""Commands without the cost of starting Python: forked from one process that has imported all.

Each command is a process of its own, with its own arguments, directory, environment, output and
exit code; only the imports are shared.
"""

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PARENT = """
import json, os, sys
if os.fork():
    os._exit(0)  # what stays is nobody's child: other tests count the children of this process
from durable_otp.cli.main import main

def become(order):
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for number, path in ((0, os.devnull), (1, order["stdout"]), (2, order["stderr"])):
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv[:] = ["durable-otp", *order["words"]]
    main()

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            become(json.loads(line))
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
_lock = threading.Lock()
_parents: list["subprocess.Popen[str]"] = []


def command(
    words: list[str], directory: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run `durable-otp` with these words to its end."""
    with _lock, tempfile.TemporaryDirectory() as outputs:
        stdout, stderr = Path(outputs, "stdout"), Path(outputs, "stderr")
        order = {
            "words": words,
            "directory": str(directory),
            "environment": environment,
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        parent = _parent()
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(json.dumps(order) + "\n")
        parent.stdin.flush()
        code = int(parent.stdout.readline())
        return subprocess.CompletedProcess(words, code, stdout.read_text(), stderr.read_text())


def _parent() -> "subprocess.Popen[str]":
    if not _parents:
        _parents.append(
            subprocess.Popen(
                [sys.executable, "-c", PARENT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=os.sep,
            )
        )
        _parents[0].wait()
        atexit.register(_end)
    return _parents[0]


def _end() -> None:
    for parent in _parents:
        for pipe in (parent.stdin, parent.stdout):
            assert pipe is not None
            pipe.close()
