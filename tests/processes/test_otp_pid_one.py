"""The root as PID 1 of a container: it adopts, kills and reaps everything, and still stops."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.waiting import wait_until

ORPHANS = 1000

ROOT = """
import os, sys
from durable_otp.otp import ChildSpec, SupervisorFlags, SupervisorSpec, run_root
from tests.support import otp_births as births

number = int(sys.argv[1])
assert os.getpid() == 1
maker = ChildSpec("maker", births.make_orphans, (number,), start_timeout=90)
sys.exit(run_root(SupervisorSpec(SupervisorFlags(), [maker]), births.CountOrphans(number)))
"""


def test_a_root_that_is_pid_one_reaps_a_thousand_orphans_and_leaves_no_zombie() -> None:
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *as_root, "--pid", "--fork", "--mount-proc", "--kill-child"]
    with subprocess.Popen(
        [*command, sys.executable, "-c", ROOT, str(ORPHANS)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as outside:
        said = outside.stdout.readline()
        if not said:  # it could not begin
            raise AssertionError(
                f"unshare must be permitted to test PID 1: {outside.stderr.read()}"
            )
        assert said == f"pid 1: {ORPHANS} orphans\n"
        (root,) = psutil.Process(outside.pid).children()

        def everyone() -> list[str]:
            return [child.status() for child in root.children(recursive=True)]

        wait_until(lambda: len(everyone()) == 1)
        assert psutil.STATUS_ZOMBIE not in everyone()
        root.send_signal(signal.SIGTERM)
        assert outside.wait(30) == 0
        assert outside.stderr.read() == ""
