"""Where pages hear of changes: server-sent events that carry topics and no data."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from durable_otp.dashboard.live import Stream
from durable_otp.dashboard.rendering import console_of

MOST_TOPICS = 600
ALWAYS = "everything"


async def changes(request: Request) -> Response:
    """Tell a page of what it shows, until it is closed."""
    hub = console_of(request).hub
    if hub.is_full:
        return PlainTextResponse("Too many pages are open.\n", 503)
    topics = request.query_params.get("topics", "").split(" ")[:MOST_TOPICS]
    stream = Stream([*topics, ALWAYS])

    async def events() -> AsyncIterator[str]:
        hub.join(stream)
        try:
            async for event in stream.events():
                yield event
        finally:
            hub.leave(stream)

    return StreamingResponse(
        events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


ROUTES = [Route("/live", changes)]
