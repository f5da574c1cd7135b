"""Every question of the suite, in the order of the README."""

from bench import (
    claims,
    enqueue,
    executions,
    fan_out,
    footprint,
    latency,
    recovery,
    steps,
    waking,
)
from bench.question import Question

QUESTIONS: tuple[Question, ...] = (
    claims.QUESTION,
    executions.QUESTION,
    steps.QUESTION,
    enqueue.QUESTION,
    latency.QUESTION,
    waking.QUESTION,
    recovery.QUESTION,
    footprint.QUESTION,
    fan_out.QUESTION,
)
