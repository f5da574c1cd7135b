"""Finding executions: a page where an index leads to them, else a search through the newest."""

from collections.abc import Iterator

from durable_otp.dashboard.console import Console, TookTooLong
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import MOST_SEARCHED, Facets, Found

FEW_SEARCHED = 500


def found(console: Console, facets: Facets, *, limit: int, after: str | None = None) -> Found:
    """Return the newest that fit; among fewer of them where looking at each takes long.

    Raises:
        TookTooLong: Even those few take too long.
    """
    if facets.is_search:
        try:
            return console.run(
                dashboard.search, facets, limit=limit, after=after, among=MOST_SEARCHED
            )
        except TookTooLong:
            return console.run(
                dashboard.search, facets, limit=limit, after=after, among=FEW_SEARCHED
            )
    return console.run(dashboard.page, facets, limit=limit, after=after)


def every_id(console: Console, facets: Facets, batch: int) -> Iterator[str]:
    """Yield the ids of all that fit, the newest first, asked for in batches."""
    after: str | None = None
    while True:
        part = found(console, facets, limit=batch, after=after)
        yield from (row["id"] for row in part.rows)
        if part.after is None:
            return
        after = part.after
