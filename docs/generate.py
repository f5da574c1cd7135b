"""Write what the code says itself into the pages: every key, every verb, every exit code.

``python -m docs.generate`` writes the pages, ``--check`` says whether they are as the code is.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import typer

from durable_otp.cli.failures import EXIT_CODES
from durable_otp.cli.main import app
from durable_otp.config import ReferenceRow, reference

DOCS = Path(__file__).parent
HOW = "<!-- {name}: written by `python -m docs.generate` from the code; do not edit -->"
END = "<!-- {name}: end -->"
HEADING = "| argument or option | default | meaning |"


def configuration() -> str:
    """Return a table of each section's keys, from the models of the configuration."""
    parts = []
    for section, rows in groupby(reference(), key=_section):
        parts.append(f"## `[{section}]`\n\n| key | type | default | meaning |\n|---|---|---|---|\n")
        parts.extend(f"{_key(row)}\n" for row in rows)
        parts.append("\n")
    return "".join(parts).rstrip()


def _section(row: ReferenceRow) -> str:
    return row.key.rsplit(".", 1)[0]


def _key(row: ReferenceRow) -> str:
    unit = f" ({row.unit})" if row.unit else ""
    default = row.default if row.default == "not set" else f"`{row.default}`"
    return f"| `{row.key.rsplit('.', 1)[1]}` | {row.type}{unit} | {default} | {row.meaning} |"


def verbs() -> str:
    """Return every verb with its arguments and options, from the program's parser."""
    program = typer.main.get_command(app)
    return "\n\n".join(_verb(words, each) for words, each in _below(program, ()))


def _below(group: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield (*words, name), command
        if hasattr(command, "commands"):
            yield from _below(command, (*words, name))


def _verb(words: tuple[str, ...], command: Any) -> str:
    given = [each for each in command.params if not getattr(each, "hidden", False)]
    arguments = [each for each in given if not each.opts[0].startswith("-")]
    options = [each for each in given if each.opts[0].startswith("-")]
    usage = ["durable-otp", *words, *(["[OPTIONS]"] if options else [])]
    if getattr(command, "commands", None):
        usage.append("[VERB]" if command.invoke_without_command else "VERB")
    usage += [_word(each) for each in arguments]
    level = "#" * (len(words) + 1)
    parts = [
        f"{level} `{' '.join(words)}`",
        command.help.strip(),
        f"```text\n{' '.join(usage)}\n```",
    ]
    if given:
        rows = [*map(_argument, arguments), *map(_option, options)]
        parts.append("\n".join([HEADING, "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _word(argument: Any) -> str:
    name = _metavar(argument)
    return name if argument.required else f"[{name}]"


def _metavar(parameter: Any) -> str:
    return (parameter.metavar or parameter.name.upper()).strip("[]")


def _argument(argument: Any) -> str:
    default = "required" if argument.required else "-"
    return f"| `{_metavar(argument)}` | {default} | {_cell(argument.help)} |"


def _option(option: Any) -> str:
    value = "" if option.is_flag else f" {_metavar(option)}"
    names = ", ".join(f"`{name}{value}`" for name in [*option.opts, *option.secondary_opts])
    return f"| {names} | {_default(option)} | {_cell(option.help)} |"


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.is_flag and option.secondary_opts:
        return f"`{(option.opts if option.default else option.secondary_opts)[0]}`"
    return "-" if option.is_flag or option.default is None else f"`{option.default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def exit_codes() -> str:
    """Return the table of exit codes, from the module that maps errors to them."""
    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["| exit code | meaning |", "|---|---|", *rows])


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "keys": ("configuration.md", configuration),
    "verbs": ("reference/cli.md", verbs),
    "exit codes": ("reference/cli.md", exit_codes),
}


def pages() -> dict[Path, str]:
    """Return the pages with generated parts, as they should be."""
    texts: dict[Path, str] = {}
    for name, (page, part) in PARTS.items():
        path = DOCS / page
        text = texts.get(path) or path.read_text(encoding="utf-8")
        texts[path] = between(text, name, part())
    return texts


def between(text: str, name: str, part: str) -> str:
    """Return a page with what is between the marks of a part replaced.

    Raises:
        ValueError: The page does not have the marks, once each and in order.
    """
    begin, end = HOW.format(name=name), END.format(name=name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"A page needs the lines {begin!r} and {end!r}.")
    return f"{before}{begin}\n\n{part}\n\n{end}{after}"


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; 1 if one is stale.")
    check = parser.parse_args().check
    stale = {path: text for path, text in pages().items() if path.read_text() != text}
    for path, text in stale.items():
        sys.stderr.write(f"{path.relative_to(DOCS.parent)} {'is stale' if check else 'written'}\n")
        if not check:
            path.write_text(text, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
