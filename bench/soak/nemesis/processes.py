"""Faults of processes: killed, crashed, stopped, whatever they are in the tree."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench.soak.nemesis.field import Blow, Field, Kind, Strike
from bench.soak.nodes import Member, victims

SIBLINGS = (
    "registrar", "sleep_waker", "wait_timeouts", "scheduler", "stale_job_recovery",
    "zombie_recovery",
)  # fmt: skip


def _hit(field: Field, member: Member, number: int) -> str:
    """Signal a process and say which it was; whatever it takes with it is noted as killed."""
    takes = {member.pid}
    for node in field.nodes if member.role in {"root", "queue"} else ():
        members = node.members()
        if any(each.pid == member.pid for each in members):
            takes |= {each.pid for each in members if each.role == "worker"}
    try:
        os.kill(member.pid, number)
    except ProcessLookupError:
        return ""
    now = time.time()
    for pid in takes:
        field.killed.setdefault(pid, (now, member.role))
    return f"{member.role} {member.pid}"


def _signalled(number: int, *roles: str) -> Strike:
    @contextmanager
    def strike(field: Field, blow: Blow) -> Iterator[str]:
        member = blow.pick(victims(field.nodes, *roles))
        yield _hit(field, member, number) if member else ""

    return strike


def _stopped(*roles: str) -> Strike:
    @contextmanager
    def strike(field: Field, blow: Blow) -> Iterator[str]:
        member = blow.pick(victims(field.nodes, *roles))
        if member is None:
            yield ""
            return
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGSTOP)
        try:
            yield f"{member.role} {member.pid}"
        finally:
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGCONT)

    return strike


@contextmanager
def _ended_in_order(field: Field, blow: Blow) -> Iterator[str]:
    """Stop a node as an operator would; it comes back as a new one."""
    member = blow.pick(victims(field.nodes, "root"))
    if member is not None:
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGTERM)
    yield f"root {member.pid}" if member else ""


KINDS = [
    Kind("worker: SIGKILL", _signalled(signal.SIGKILL, "worker")),
    Kind("worker: SIGSEGV", _signalled(signal.SIGSEGV, "worker")),
    Kind("worker: SIGABRT", _signalled(signal.SIGABRT, "worker")),
    Kind("worker: SIGSTOP", _stopped("worker"), 0.5, 10),
    Kind("manager: SIGKILL", _signalled(signal.SIGKILL, "queue")),
    Kind("manager: SIGSTOP", _stopped("queue"), 0.5, 10),
    Kind("sibling: SIGKILL", _signalled(signal.SIGKILL, *SIBLINGS)),
    Kind("sibling: SIGSTOP", _stopped(*SIBLINGS), 0.5, 6),
    Kind("root: SIGKILL", _signalled(signal.SIGKILL, "root")),
    Kind("root: SIGSTOP", _stopped("root"), 0.5, 6),
    Kind("root: SIGTERM", _ended_in_order),
]
