"""What a process is called in ``ps``, ``top`` and ``pstree``."""

import setproctitle


def set_title(title: str) -> None:
    """Call this process so, at once and as often as wanted."""
    setproctitle.setproctitle(title)
