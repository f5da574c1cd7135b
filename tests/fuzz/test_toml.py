"""A configuration is read or refused in one line that names the file, the key and the reason.

Documents are made from the keys there are, with right and wrong values, keys that there are not,
and bytes changed at random.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from durable_otp.config import Config, QueueSection, from_mapping, load
from durable_otp.errors import ConfigError
from tests.support.command_line_here import command_here
from tests.support.entry_points import in_one_line
from tests.support.examples import examples

LARGEST = 2**31 - 1
COUNTS = (
    "concurrency", "max_executions_per_worker", "batch_size", "max_interruptions", "max_restarts",
)  # fmt: skip
SECTIONS: dict[str, Any] = {
    name: QueueSection if name == "queues" else field.annotation
    for name, field in Config.model_fields.items()
}
VALUES = (
    "true", "false", "0", "1", "-1", "3", "1.5", "-0.0", "nan", "inf", "1e400", "9" * 30, "9" * 400,
    "0x" + "f" * 5_000, "9" * 5_000, '""', '"x"', '"500ms"', '"30s"', '"7d"', '"1MB"', '"1GB"',
    '"٣s"', '"\\u0000"', '"a\\nb"', "[]", '["shop"]', "[1, [2]]", "{}", "{a = 1}", "2020-01-01",
    "2020-01-01T00:00:00Z", "07:32:00", '"""\nlong"""', '"postgresql://u:secret@h/d"', '"text"',
    '"json"', '"a:b"', '"batched"', '"durable"', '"' + "x" * 300 + '"', '"' + "9" * 5_000 + 's"',
    '"' + "9" * 5_000 + 'MB"',
)  # fmt: skip
names = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["default", "slow one", "durable", "a.b", "\n", "\x7f", "q" * 101, "ä"]),
)


def key(name: str) -> str:
    return json.dumps(name)


def keys_of(section: str) -> st.SearchStrategy[str]:
    fields = SECTIONS[section].model_fields
    known = st.sampled_from([field.alias or name for name, field in fields.items()])
    return st.one_of(known, known, known, known, known, names)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Return a text of TOML: sections and keys, known or not, with values of every kind."""
    lines = []
    for section in draw(st.lists(st.sampled_from([*SECTIONS, *SECTIONS, "durable"]), max_size=5)):
        header = section
        if section == "queues" and draw(st.booleans()):
            header = f"queues.{key(draw(names))}"
        if draw(st.integers(0, 9)) == 0:
            header = key(draw(names))
        lines.append(f"[{header}]")
        names_here = draw(st.lists(keys_of(section), max_size=4))
        lines += [f"{key(name)} = {draw(st.sampled_from(VALUES))}" for name in names_here]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configuration") / "config.toml"


def read(path: Path) -> Config | str:
    """Return the configuration, or the sentence by which it is refused."""
    try:
        return load(path, environ={})
    except ConfigError as refused:
        in_one_line(refused)
        sentence = str(refused)
        assert sentence.startswith(f"{path}")
        assert "secret" not in sentence or "dsn" not in sentence
        return sentence


@examples(60, 20_000)
@given(documents())
@example("[durable]\nnode_timeout = " + "9" * 400)
@example("[durable]\nmax_interruptions = 0x" + "f" * 5_000)
@example("[queues.a]\nmax_memory = 0x" + "f" * 5_000)
@example("[durable]\nmax_interruptions = 9999999999")
@example("[sleep_waker]\nbatch_size = 99999999999999999999")
def test_a_document_is_read_or_refused_by_name(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except UnicodeEncodeError:
        assume(False)
    found = read(path)
    if isinstance(found, Config):
        sections = [*found.queues.values(), found.durable, found.supervisor, found.sleep_waker]
        given = [dict(section).get(name) for section in sections for name in COUNTS]
        assert all(count is None or count <= LARGEST for count in given), "more than SQL takes"


@examples(30, 20_000)
@given(documents(), st.data())
def test_changed_bytes_are_read_or_refused(path: Path, text: str, data: st.DataObject) -> None:
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 5))
        content[place : place + length] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    read(path)


@examples(30, 5_000)
@given(st.sampled_from([name for name in SECTIONS if name != "queues"]), names)
def test_an_unknown_key_is_refused_and_named(path: Path, section: str, name: str) -> None:
    fields = SECTIONS[section].model_fields
    assume(name not in [field.alias or known for known, field in fields.items()])
    path.write_text(f"[{section}]\n{key(name)} = 1\n", encoding="utf-8")
    found = read(path)
    assert isinstance(found, str)
    assert "is not a known key" in found or "is not valid TOML" in found
    assert section in found or "TOML" in found


@examples(15, 3_000)
@given(documents(), st.sampled_from(["check", "start", "list", "status", "migrate", "tree"]))
def test_the_program_ends_with_2_and_one_line(path: Path, text: str, verb: str) -> None:
    path.write_text(text, encoding="utf-8")
    sentence = read(path)
    assume(isinstance(sentence, str))
    words = [verb, str(path)] if verb in ("check", "start") else [verb, "--config", str(path)]
    done = command_here(words)
    assert (done.code, done.output) == (2, "")
    assert done.errors == f"{' '.join(str(sentence).split())}\n"


@examples(30, 5_000)
@given(st.dictionaries(st.one_of(names, st.sampled_from(list(SECTIONS))), st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.floats(), st.booleans(),
    st.dictionaries(names, st.integers(0, 5), max_size=2), st.just(10**400), st.binary(max_size=2),
), max_size=3))  # fmt: skip
def test_what_python_gives_is_taken_or_refused_by_name(settings: dict[str, Any]) -> None:
    try:
        from_mapping(settings, environ={})
    except ConfigError as refused:
        in_one_line(refused)
