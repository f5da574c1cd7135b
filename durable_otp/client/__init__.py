"""The client: start executions, look at them, wait for them, call them off.

It needs a database and nothing else; whether any process runs the executions is not its business.
"""

from durable_otp.client.durable import Durable
from durable_otp.client.handle import Handle

__all__ = ["Durable", "Handle"]
