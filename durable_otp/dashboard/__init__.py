"""The dashboard: every execution and the living process tree, as pages.

``app`` is the ASGI application, to be mounted in a host; ``durable-otp dashboard`` serves it alone,
and ``[dashboard] enabled = true`` as a supervised process of the tree. Nothing imports this package
that can do without it: it needs the extra ``durable-otp[dashboard]``.
"""

from durable_otp.dashboard.access import Access, Person
from durable_otp.dashboard.application import app

__all__ = ["Access", "Person", "app"]
