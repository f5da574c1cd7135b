"""Spans of OpenTelemetry for the attempts of steps, where the user's code has set a provider.

The spans of one execution share a trace, whose id is the execution's: they are found by it
whichever processes of whichever nodes have run its steps. What a body calls is below its span.
"""

import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

from durable_otp.engine.journal import Attempt
from durable_otp.engine.outcome import AttemptEnd, Raised, Returned

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_LOWER_HALF = 2**64 - 1


class StepSpans:
    """The span of the attempt that runs; there is one at a time."""

    def __init__(self, tracer: "Tracer") -> None:
        self._tracer = tracer
        self._running: tuple[Span, Any] | None = None

    def begin(self, workflow: str, execution_id: str, attempt: Attempt) -> None:
        """Begin the span of an attempt, and make it the current one."""
        from opentelemetry import context, trace  # noqa: PLC0415 - it is there, or this is not

        span = self._tracer.start_span(
            f"{workflow}:{attempt.path}",
            context=trace.set_span_in_context(_parent(execution_id)),
            attributes={
                "durable_otp.execution_id": execution_id,
                "durable_otp.workflow": workflow,
                "durable_otp.step": attempt.path,
                "durable_otp.visit": attempt.visit,
                "durable_otp.attempt": attempt.number,
            },
        )
        self._running = span, context.attach(trace.set_span_in_context(span))

    def end(self, end: AttemptEnd) -> None:
        """End the span, with an error if the attempt had one."""
        from opentelemetry import context, trace  # noqa: PLC0415 - it is there, or this is not

        if self._running is None:
            return
        (span, token), self._running = self._running, None
        context.detach(token)
        span.set_attribute("durable_otp.outcome", type(end).__name__.lower())
        if isinstance(end, Raised):
            text = f"{end.error['type']}: {end.error['message']}"
            span.set_status(trace.Status(trace.StatusCode.ERROR, text))
        elif isinstance(end, Returned):
            span.set_status(trace.Status(trace.StatusCode.OK))
        span.end()


def step_spans() -> StepSpans | None:
    """Return what makes spans; None where nobody has imported OpenTelemetry and set a provider."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from opentelemetry import trace  # noqa: PLC0415 - an extra that nobody else pays for

    return StepSpans(trace.get_tracer("durable_otp"))


def _parent(execution_id: str) -> "Span":
    """Return the execution as a span that nobody has recorded."""
    from opentelemetry import trace  # noqa: PLC0415 - it is there, or this is not

    number = UUID(execution_id).int
    return trace.NonRecordingSpan(
        trace.SpanContext(
            trace_id=number,
            span_id=number & _LOWER_HALF,
            is_remote=True,
            trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        )
    )
