"""The sessions of docs/failures.md: typed again, they show what the page shows."""

from contextlib import closing
from pathlib import Path

import pytest

from docs.record import GUIDE, LONG, README, SHORT, short, told_in, workflows
from docs.stage import Stage, alike
from tests.support.command_line import command


def test_the_sessions_of_the_guide_show_the_same_again(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    page = GUIDE.read_text(encoding="utf-8")
    with closing(Stage(tmp_path, dsn, schema, workflows(), command)) as stage:
        told = short(stage, [name for name in SHORT if name != "segfault"])  # as poison, once
    for name, session in told.items():
        assert alike(session) == alike(told_in(page, name)), name


@pytest.mark.parametrize("name", [*SHORT, *LONG])
def test_every_session_is_told(name: str) -> None:
    assert "$ durable-otp inspect" in told_in(GUIDE.read_text(encoding="utf-8"), name)


def test_the_readme_and_the_guide_tell_of_the_same_kill() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (README, GUIDE)]
    assert told_in(pages[0], "kill") == told_in(pages[1], "kill")
