"""How many descriptors a process may have open."""

import resource
from contextlib import suppress

FOR_ALL_ELSE = 512


def allow_descriptors(count: int) -> None:
    """Have this process, and those it forks, be allowed so many beside what it needs anyway.

    Does nothing where that is so already, or more than the hard limit.
    """
    wanted = count + FOR_ALL_ELSE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
