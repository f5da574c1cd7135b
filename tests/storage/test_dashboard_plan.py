"""The plans of the dashboard's lists: a page reads a page, whatever it is narrowed by."""

import pytest

from durable_otp.dashboard.filters import asked
from durable_otp.storage.dashboard import Facets
from durable_otp.storage.reports import Filters
from tests.storage.test_claims_plan import explained
from tests.storage.test_lists_plan import PAGE, crowded

__all__ = ["crowded"]

FACETS = [
    Facets(),
    Facets(Filters(top_level=True)),
    Facets(Filters(status="pending")),
    Facets(Filters(status="failed")),
    Facets(Filters(workflow="rare", top_level=True)),
    Facets(Filters(queue="rare")),
    Facets(Filters(queue="nobody's")),
    Facets(stuck_for=60.0),
]


@pytest.mark.parametrize("facets", FACETS, ids=str)
def test_a_page_reads_a_page(crowded, facets):
    parameters = {**(facets.parameters() or {}), **PAGE}
    plan, blocks = explained(crowded, "dashboard_executions", "force_custom_plan", **parameters)
    assert "Seq Scan" not in plan
    assert blocks < 400  # the table has thousands


def test_what_can_have_no_error_is_not_looked_at(crowded):
    facets = asked({"error": "KeyError"}).facets(None)  # type: ignore[arg-type]
    parameters = {**(facets.parameters() or {}), **PAGE}
    plan, blocks = explained(crowded, "dashboard_executions", "force_custom_plan", **parameters)
    assert "Seq Scan" not in plan
    assert blocks < 400
    parameters = {**(facets.parameters() or {}), "most": 10_001}
    _, blocks = explained(crowded, "dashboard_count", "force_custom_plan", **parameters)
    assert blocks < 400


def test_a_count_goes_no_further_than_it_says(crowded):
    parameters = {**(Facets().parameters() or {}), "most": 1001}
    _, blocks = explained(crowded, "dashboard_count", "force_custom_plan", **parameters)
    assert blocks < 400
