"""Every question of the suite, in the order of the README."""

from bench.question import Question

QUESTIONS: tuple[Question, ...] = ()
