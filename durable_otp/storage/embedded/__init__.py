"""A private PostgreSQL server: there when somebody uses it, gone after the last user.

`acquire` gives a DSN to a process and, by inheritance, to all its forked children. One server
serves any number of processes of a directory; the kernel's locks count them (``locks``), and a
detached process stops it after the last (``reaper``). For development, tests and single machines;
for anything else, give a DSN.
"""

from durable_otp.storage.embedded.directory import default_directory
from durable_otp.storage.embedded.operations import Status, hold, psql, reset, status, stop
from durable_otp.storage.embedded.record import Mode
from durable_otp.storage.embedded.server import Server, acquire

__all__ = [
    "Mode",
    "Server",
    "Status",
    "acquire",
    "default_directory",
    "hold",
    "psql",
    "reset",
    "status",
    "stop",
]
