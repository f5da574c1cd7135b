"""Every question of the suite, in the order of the README."""

from bench import (
    claims,
    crowd,
    enqueue,
    executions,
    fan_out,
    footprint,
    growth_churn,
    growth_finished,
    growth_pending,
    growth_queues,
    growth_sleepers,
    growth_steps,
    latency,
    nodes,
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
    nodes.QUESTION,
    crowd.QUESTION,
    growth_finished.QUESTION,
    growth_pending.QUESTION,
    growth_queues.QUESTION,
    growth_sleepers.QUESTION,
    growth_steps.QUESTION,
    growth_churn.QUESTION,
)
