"""Payloads as they are stored: what one codec wrote is read again, and told from all else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_otp import Codec
from durable_otp.engine.failure import unencodable
from durable_otp.errors import CodecError, ConfigError, EncodingRefused
from durable_otp.storage.database import TRIES_OF_A_DEFECT, Database
from durable_otp.storage.payload_parts import BODY, NAME
from durable_otp.storage.payloads import Codecs, Unreadable, Untouched
from durable_otp.workflow.json_form import canonical, decode, encode
from tests.support.codecs import Broken, Squeezed, Veil

ONE, TWO = Veil("one", "a"), Veil("two", "b")
TEXTS = st.text('ab"\\{$é', max_size=5)
FORM = st.fixed_dictionaries({NAME: TEXTS | st.sampled_from(["plain", "one"]), BODY: TEXTS})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXTS | st.just(NAME) | FORM,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([NAME, BODY, "a", "b"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def text(value: Any) -> str:
    return encode(value).decode()


def stored(codecs: Codecs, value: Any, payload: str = "input") -> Any:
    """Return a parameter as it is sent."""
    return codecs.seal((payload,), {payload: text(value), "other": 1})[payload]


@pytest.mark.parametrize("codecs", [Codecs(), Codecs(ONE), Codecs(["plain", ONE])])
@settings(max_examples=40, deadline=None)
@given(value=VALUES)
def test_every_value_is_read_as_it_was_written_even_one_that_looks_stored(codecs, value):
    plain = canonical(value)

    assert codecs.open(stored(codecs, plain).encode()) == plain


@settings(max_examples=40, deadline=None)
@given(value=VALUES, around=st.sampled_from(["items", "logs", "error", "endings", "waits"]))
@pytest.mark.parametrize("codecs", [Codecs(), Codecs(ONE)])
def test_what_is_stored_in_parts_is_read_as_it_was_written(codecs, value, around):
    plain = canonical(value)
    error = {"type": "E", "message": plain, "more": plain}
    question = {"fields": plain, "choices": None, "metadata": plain, "timeout_value": plain}
    shapes = {
        "items": [plain, None, plain],
        "logs": [{"level": "info", "message": plain}],
        "error": error,
        "endings": [{"step": "a", "error": error}, {"step": "b", "error": None}],
        "waits": [{"ordinal": 1, "prompt": None, **question}],
    }

    assert codecs.open(stored(codecs, shapes[around], around)) == shapes[around]


@pytest.mark.parametrize("prompt", ["Ship it?", '{"$codec": "x", "encoded": "y"}', '{"$codec"'])
@pytest.mark.parametrize("codecs", [Codecs(), Codecs(ONE)])
def test_a_prompt_keeps_its_text_though_its_column_is_one(codecs, prompt):
    wait = {"prompt": prompt} | dict.fromkeys(("fields", "choices", "metadata", "timeout_value"))
    (sent,) = decode(stored(codecs, [wait], "waits"))
    in_column = sent["prompt"] if isinstance(sent["prompt"], str) else text(sent["prompt"])
    is_form = in_column.startswith('{"$codec":')

    assert (codecs.open(in_column) if is_form else in_column) == prompt


def test_what_sql_asks_for_stays_readable_and_nothing_else():
    codecs = Codecs(ONE)
    error = decode(stored(codecs, {"type": "E", "signal": "S", "message": "secret"}, "error"))
    (line,) = decode(stored(codecs, [{"level": "info", "message": "secret"}], "logs"))

    assert (error["type"], error["signal"], line["level"]) == ("E", "S", "info")
    assert "secret" not in f"{error}{line}"
    assert error["message"].keys() == {NAME, BODY}


def test_without_a_codec_parameters_are_passed_on_as_they_are():
    given_ = {"input": '{"a":1}', "inputs": ["[1]", None], "output": None}

    assert Codecs().seal(("input", "inputs", "output"), given_) is given_


def test_a_list_is_stored_text_by_text_whether_sent_as_an_array_or_as_one_text():
    codecs = Codecs(ONE)
    sent = codecs.seal(("inputs",), {"inputs": ['{"a":1}', None]})["inputs"]
    joined = codecs.seal(("inputs",), {"inputs": '{"a":1}\x1e\x1e[2]'})["inputs"].split("\x1e")

    assert (codecs.open(sent[0]), sent[1]) == ({"a": 1}, None)
    assert [codecs.open(each) if each else None for each in joined] == [{"a": 1}, None, [2]]


def test_the_first_codec_encodes_and_all_decode():
    old, both = Codecs(ONE), Codecs([TWO, ONE])
    written = stored(both, {"a": 1})

    assert json.loads(written)[NAME] == "two"
    assert both.open(written) == both.open(stored(old, {"a": 1})) == {"a": 1}
    with pytest.raises(CodecError, match="encoded by codec 'two', which is not known here"):
        old.open(written)


def test_plain_as_the_first_codec_encodes_nothing_any_more():
    codecs = Codecs(["plain", ONE])

    assert stored(codecs, {"a": 1}) == '{"a":1}'
    assert codecs.open(stored(Codecs(ONE), {"a": 1})) == {"a": 1}


def test_what_cannot_be_read_is_shown_where_that_is_asked_for():
    value = stored(Codecs(ONE), "secret")
    shown = Codecs(shows=True).open(f'{{"a": {value}}}')
    wrong = Codecs(Veil("one", "another key"), shows=True).open(value)

    assert shown == {"a": "<encoded by one: no codec here>"}
    assert isinstance(shown["a"], Unreadable)
    assert wrong == "<encoded by one: not readable with the codec here>"


def test_who_only_moves_payloads_leaves_them_as_they_are_but_encodes_what_was_printed():
    value = stored(Codecs(ONE), "secret")
    moving = Untouched(TWO)
    printed = moving.seal(("logs", "error"), {"error": "{}", "logs": '[{"message":"secret"}]'})

    assert moving.open(value) == json.loads(value)
    assert stored(moving, json.loads(value)) == value
    assert TWO.name in printed["logs"]
    assert "secret" not in printed["logs"]
    assert printed["error"] == "{}"


def test_a_line_that_cannot_be_encoded_is_given_up_and_the_step_is_not():
    assert "not kept" in stored(Codecs(Broken()), [{"level": "info", "message": "m"}], "logs")


def test_compression_is_a_codec_too():
    codecs = Codecs(Squeezed())
    value = {"a": "x" * 10_000}

    assert len(stored(codecs, value)) < 200
    assert codecs.open(stored(codecs, value)) == value


@pytest.mark.parametrize(
    ("codec", "sentence"),
    [
        (Broken(), "could not encode a value (RuntimeError: the key store is away)."),
        (Broken(gives="text"), "encoded a value as str; let it return bytes."),
    ],
)
def test_a_codec_that_cannot_encode_is_one_sentence(codec, sentence):
    with pytest.raises(CodecError) as caught:
        stored(Codecs(codec), "a")

    assert str(caught.value) == f"Codec 'broken' {sentence}"


@pytest.mark.parametrize(
    ("body", "codec", "sentence"),
    [
        (
            "YQ==",
            Broken(),
            r"could not decode a stored value \(RuntimeError: the key store is away",
        ),
        ("YQ==", Broken(gives=1), "decoded a value as int; let it return bytes"),
        ("?", Squeezed("broken"), "could not decode a stored value"),
    ],
)
def test_a_codec_that_cannot_decode_is_one_sentence(body, codec, sentence):
    with pytest.raises(CodecError, match=sentence):
        Codecs(codec).open(text({NAME: "broken", BODY: body}))


@pytest.mark.parametrize(
    ("codec", "sentence"),
    [
        ("tests.support.nowhere:codec", "cannot be found .ModuleNotFoundError"),
        ("tests.support.codecs:missing", "cannot be found .AttributeError"),
        ("tests.support.codecs:no_codec", "is no codec: it needs a name"),
        ("tests.support.codecs:Veil", "is no codec: it needs a name"),
        ("tests.support.codecs", 'must be "module:attribute"'),
        (7, "is no codec: it needs a name"),
        (Veil(""), "it must be 1 to 60 printable characters"),
        (Veil("plain"), "which stands for no codec"),
        ([Veil("a"), Veil("a", "other")], "Two codecs have the name 'a'"),
    ],
)
def test_what_is_no_codec_is_refused_with_one_sentence(codec, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        Codecs(codec).known()

    assert "\n" not in str(caught.value)


class Raising:
    """Cannot encode, in the way that it is told."""

    name = "raising"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def encode(self, data: bytes) -> bytes:
        raise self.error

    def decode(self, data: bytes) -> bytes:
        return data


def tries(codec: Codec, patience: int, *, awaits_codec: bool = True) -> tuple[int, CodecError]:
    """Return how often a worker's database waits for a codec, and how that ends."""
    waited: list[float] = []

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) < patience

    database = Database(
        "", "durable", role="test", pause=pause, codecs=Codecs(codec), awaits_codec=awaits_codec
    )
    with pytest.raises(CodecError) as caught:
        database.seal(("input",), {"input": text("secret")})
    return len(waited), caught.value


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        (Raising(ValueError("secret")), "ValueError"),
        (Raising(KeyError("secret")), "KeyError"),
        (Broken("raising", gives="secret"), "it returned str"),
    ],
)
def test_what_looks_like_a_codec_s_own_error_is_refused_in_the_end(codec: Codec, reason: str):
    waited, error = tries(codec, patience=100)
    assert waited == TRIES_OF_A_DEFECT - 1
    assert isinstance(error, EncodingRefused)
    assert str(error) == f"Codec 'raising' cannot encode a value ({reason})."
    assert tries(codec, patience=3)[0] == 3
    assert tries(codec, patience=3, awaits_codec=False)[0] == 0
    shown = unencodable(error)
    assert stored(Codecs(codec), shown, "error") == text(shown)


class ProxyError(ValueError, OSError):
    """What libraries raise for an answer that is not theirs: the key store is away."""


@pytest.mark.parametrize("error", [OSError("away"), RuntimeError("away"), ProxyError("away")])
def test_what_may_be_away_is_waited_for(error: Exception):
    waited, ended = tries(Raising(error), patience=100)
    assert waited == 100
    assert not isinstance(ended, EncodingRefused)


def test_the_codecs_of_the_tests_are_what_the_protocol_says():
    codec: Codec = Veil("one")

    assert isinstance(codec, Codec)
    assert list(Codecs("tests.support.codecs:veil").known()) == ["veil-1"]
