"""docs/configuration.md lists every key, unit and default as the code has them."""

from itertools import groupby
from pathlib import Path

from durable_otp.config import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def section_of(row):
    return row.key.rsplit(".", 1)[0]


def cells(row):
    unit = f" ({row.unit})" if row.unit else ""
    name = row.key.rsplit(".", 1)[1]
    return f"| `{name}` | {row.type}{unit} | `{row.default}` | {row.meaning} |".replace(
        "`not set`", "not set"
    )


def expected():
    """Return the tables of the page, as the code would write them."""
    lines = []
    for section, rows in groupby(reference(), key=section_of):
        lines += [
            f"## `[{section}]`",
            "",
            "| key | type | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += [*(cells(row) for row in rows), ""]
    return "\n".join(lines)


def test_the_page_has_the_tables_of_the_code():
    tables = expected()
    text = PAGE.read_text(encoding="utf-8")
    assert tables in text, f"docs/configuration.md must have these tables:\n\n{tables}"


def test_every_key_has_a_meaning():
    assert [row.key for row in reference() if not row.meaning.endswith(".")] == []
