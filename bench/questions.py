"""Every question of the suite, in the order of the README."""

from bench import claims, enqueue, executions, latency, steps, waking
from bench.question import Question

QUESTIONS: tuple[Question, ...] = (
    claims.QUESTION,
    executions.QUESTION,
    steps.QUESTION,
    enqueue.QUESTION,
    latency.QUESTION,
    waking.QUESTION,
)
