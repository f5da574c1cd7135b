"""A configuration is read or refused; a refusal is one sentence with the file, the key and why."""

import traceback
from datetime import timedelta

import pytest
from pydantic import ValidationError

from durable_otp.config import RetentionSection, from_mapping, load
from durable_otp.errors import ConfigError
from durable_otp.runtime.tree import connections
from durable_otp.workflow.state import FINAL

EXAMPLE = """
[durable]
dsn = "postgresql:///app"
schema = "shop"
name = "app"
workflows = ["shop.workflows", "shop.more:order"]
stale_lock_timeout = "300s"
heartbeat_interval = "30s"
node_timeout = "15s"
queue_enabled = true
max_payload = "1MB"
max_context = "16MB"
max_log = "64KB"
max_interruptions = 20
interrupt_grace = "1s"
connection_idle_timeout = "5m"
preload = false
log_format = "json"
adapter = "shop.queue:Adapter"

[queues.default]
concurrency = 10
poll_interval = "500ms"
[queues."slow one"]
concurrency = 2
max_memory = "512MB"
max_executions_per_worker = 1000
threads = 1
[dashboard]
enabled = false

[supervisor]
max_restarts = 3
max_seconds = 5
shutdown_timeout = "30s"

[stale_job_recovery]
interval = "60s"
[zombie_recovery]
interval = "2m"
[sleep_waker]
interval = 1.5
batch_size = 50
[scheduler]
interval = "5s"
"""


@pytest.fixture
def read(tmp_path):
    """Load a text as config.toml, by default with an empty environment."""

    def from_text(text, **environ):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return load(path, environ=environ)

    return from_text


def test_every_key_of_the_contract_is_read(read):
    config = read(EXAMPLE)
    durable = config.durable
    assert (durable.dsn, durable.schema_name, durable.name) == ("postgresql:///app", "shop", "app")
    assert durable.workflows == ("shop.workflows", "shop.more:order")
    assert (durable.stale_lock_timeout, durable.heartbeat_interval) == (300.0, 30.0)
    assert (durable.max_payload, durable.max_context, durable.max_log) == (1 << 20, 1 << 24, 65536)
    assert (durable.connection_idle_timeout, durable.log_format) == (300.0, "json")
    assert config.queues["default"].poll_interval == 0.5
    slow = config.queues["slow one"]
    assert (slow.concurrency, slow.max_memory) == (2, 512 * 1024**2)
    assert slow.max_executions_per_worker == 1000
    assert (config.supervisor.max_seconds, config.supervisor.shutdown_timeout) == (5.0, 30.0)
    assert (config.zombie_recovery.interval, config.sleep_waker.interval) == (120.0, 1.5)
    assert config.scheduler.interval == 5.0


def test_an_empty_file_has_every_default_and_one_queue(read):
    config = read("")
    assert config == from_mapping({}, environ={})
    assert config.durable.dsn is None
    assert list(config.queues) == ["default"]
    assert config.queues["default"].concurrency == 10
    assert config.queues["default"].max_memory is None
    assert config.sleep_waker.batch_size == 100
    assert config.scheduler.interval == 1.0


def test_python_gives_the_durable_keys_flat_and_queues_as_numbers():
    class AWorkflow:
        def definition(self):
            return self

    order = AWorkflow()
    config = from_mapping(
        {
            "dsn": "postgresql:///app",
            "workflows": [order, "shop.workflows"],
            "queues": {"default": 4, "slow": {"concurrency": 1}},
            "stale_lock_timeout": "5s",
            "node_timeout": timedelta(seconds=2),
            "sleep_waker": {"interval": "100ms"},
        },
        environ={},
    )
    assert config.durable.workflows == (order, "shop.workflows")
    assert [queue.concurrency for queue in config.queues.values()] == [4, 1]
    assert (config.durable.stale_lock_timeout, config.durable.node_timeout) == (5.0, 2.0)
    assert config.sleep_waker.interval == pytest.approx(0.1)


def test_the_heartbeat_follows_a_short_lock_unless_it_is_set():
    assert from_mapping({"stale_lock_timeout": "5s"}).durable.heartbeat_interval == 0.5
    assert from_mapping({"stale_lock_timeout": "1h"}).durable.heartbeat_interval == 30.0
    both = {"stale_lock_timeout": 0.3, "heartbeat_interval": 0.1}
    assert from_mapping(both).durable.heartbeat_interval == 0.1


def test_the_dsn_comes_from_the_file_else_from_the_environment(read):
    assert read("", DURABLE_DSN="postgresql:///env").durable.dsn == "postgresql:///env"
    text = '[durable]\ndsn = "postgresql:///file"\n'
    assert read(text, DURABLE_DSN="postgresql:///env").durable.dsn == "postgresql:///file"
    assert read("", DURABLE_DSN="").durable.dsn is None
    assert from_mapping({}, environ={"DURABLE_DSN": "a"}).durable.dsn == "a"
    assert from_mapping({"dsn": None}, environ={"DURABLE_DSN": "a"}).durable.dsn == "a"


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("DURABLE_DSN", "postgresql:///process")
    assert from_mapping({}).durable.dsn == "postgresql:///process"


def test_a_configuration_is_frozen():
    with pytest.raises(ValidationError):
        from_mapping({}).durable.name = "other"


SECRET = "postgresql://user:hunter2@host/app"


def test_the_password_is_not_shown():
    config = from_mapping({"dsn": SECRET})
    assert config.durable.dsn == SECRET
    assert "hunter2" not in repr(config) + str(config) + repr(config.durable)


@pytest.mark.parametrize(
    "text",
    [
        f'[durable]\ndsn = ["{SECRET}"]',
        f'[durable]\ndns = "{SECRET}"',
        f'durable = "{SECRET}"',
        f'[durable]\ndsn = "{SECRET}"\npreload = 3',
        f'[durable]\ndsn = "{SECRET}"\nname = ""',
        f'[durable]\ndsn = "{SECRET}',
        f'[durable]\nschema = "{SECRET}"\n[queues]',
    ],
)
def test_no_refusal_shows_the_password_unless_it_is_put_where_it_does_not_belong(read, text):
    with pytest.raises(ConfigError) as refused:
        read(text)
    shown = "".join(traceback.format_exception(refused.value, chain=True))
    misplaced = "schema =" in text
    assert ("hunter2" in str(refused.value)) is misplaced
    assert refused.value.__context__ is None or "hunter2" not in str(refused.value.__context__)
    assert "pydantic" not in shown


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[durable]\nshema = 'x'", "durable.shema", "did you mean schema?"),
        ("[durable]\nschema_name = 'x'", "durable.schema_name", "not a known key"),
        ("[durabel]\n", "durabel", "did you mean durable?"),
        ("[dashboard]\nhost = '0.0.0.0'", "dashboard.host", "other machines can reach"),
        ("[dashboard]\nhost = 'example.com'", "dashboard.host", "must be an IP address"),
        ("[dashboard]\nport = 0", "dashboard.port", "at least 1"),
        ("[dashboard]\ntoken = 'hunter2'", "dashboard.token", "must be a hash"),
        ("[dashboard.operators]\nann = 'hunter2'", "dashboard.operators.ann", "must be a hash"),
        ("[queues.slow]\nthreads = 0", "queues.slow.threads", "at least 1, not 0"),
        ("[queues.slow]\nthreads = 257", "queues.slow.threads", "at most 256, not 257"),
        ("[queues.slow]\nthreads = true", "queues.slow.threads", "whole number, not True"),
        ("[queues.slow]\nthreads = 2.0", "queues.slow.threads", "whole number, not 2.0"),
        ("[queues.'a b']\nconcurency = 2", 'queues."a b".concurency', "mean concurrency?"),
        ("[queues.slow]\nconcurrency = 'x'", "queues.slow.concurrency", "whole number, not 'x'"),
        ("[queues.slow]\nconcurrency = true", "queues.slow.concurrency", "whole number, not True"),
        ("[queues.slow]\nconcurrency = 0", "queues.slow.concurrency", "at least 1, not 0"),
        ("[queues.slow]\nconcurrency = -1", "queues.slow.concurrency", "at least 1"),
        ("[queues.slow]\npoll_interval = 0", "queues.slow.poll_interval", "more than zero"),
        ("[queues.slow]\nmax_memory = '1 XB'", "queues.slow.max_memory", "a size"),
        ("[queues.slow]\nmax_memory = 0", "queues.slow.max_memory", "at least one byte"),
        ("[queues]", "queues", "empty"),
        ("[queues]\nslow = 'x'", "queues.slow", "a table"),
        ("queues = 3", "queues", "a table, not 3"),
        ("durable = 3", "durable", "a table"),
        ("[queues.'']", 'queues.""', "1 to 100 printable"),
        ('[queues."a\\nb"]', 'queues."a\\nb"', "printable"),
        (f"[queues.{'q' * 101}]", "queues.q", "1 to 100 printable"),
        ("[durable]\nschema = 'Shop'", "durable.schema", "not 'Shop'"),
        ("[durable]\nschema = '1a'", "durable.schema", "digit"),
        (f"[durable]\nschema = '{'s' * 49}'", "durable.schema", "1 to 48"),
        ("[durable]\nschema = 'ä'", "durable.schema", "small letters"),
        ("[durable]\nname = 5", "durable.name", "a string"),
        ("[durable]\ndsn = ' '", "durable.dsn", "must not be empty"),
        ("[durable]\nworkflows = 'shop'", "durable.workflows", "a list"),
        ("[durable]\nworkflows = ['']", "durable.workflows", "module names"),
        ("[durable]\nworkflows = [3]", "durable.workflows", "not 3"),
        ("[durable]\nnode_timeout = '15'", "durable.node_timeout", "a duration"),
        ("[durable]\nnode_timeout = true", "durable.node_timeout", "not True"),
        ("[durable]\nnode_timeout = -1", "durable.node_timeout", "not -1"),
        ("[durable]\nnode_timeout = nan", "durable.node_timeout", "not nan"),
        ("[durable]\nnode_timeout = 1e300", "durable.node_timeout", "100 years"),
        ("[durable]\nmax_payload = '1GB'", "durable.max_payload", "255MB"),
        ("[durable]\nmax_interruptions = 1.0", "durable.max_interruptions", "whole number"),
        ("[durable]\npreload = 'yes'", "durable.preload", "true or false"),
        ("[durable]\nlog_format = 'xml'", "durable.log_format", "'text' or 'json'"),
        ("[durable]\nadapter = 'shop'", "durable.adapter", "module:attribute"),
        ("[supervisor]\nmax_restarts = -1", "supervisor.max_restarts", "at least 0"),
        ("[sleep_waker]\nbatch_size = 0", "sleep_waker.batch_size", "at least 1"),
        ("[zombie_recovery]\nbatch_size = 1", "zombie_recovery.batch_size", "not a known key"),
        (
            "[durable]\nheartbeat_interval = '200s'",
            "durable.heartbeat_interval",
            "more than a third of stale_lock_timeout (5m)",
        ),
    ],
)
def test_a_wrong_key_is_one_sentence(read, text, key, reason):
    with pytest.raises(ConfigError) as refused:
        read(text)
    sentence = str(refused.value)
    assert f"config.toml: {key}" in sentence
    assert reason in sentence
    assert "\n" not in sentence
    assert sentence.endswith((".", "?"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"heartbeat_interval": 200}, "heartbeat_interval is 200s, more than a third"),
        ({"shema": "x"}, "shema is not a known key; did you mean schema?"),
        ({"sleepwaker": {}}, "sleepwaker is not a known key; did you mean sleep_waker?"),
        ({"durable": {}}, "durable is not a known key"),
        ({5: 1}, "5 is not a known key"),
        ({"queues": {"a": True}}, "queues.a must be a table"),
        ({"queues": {"a": 0}}, "queues.a.concurrency must be at least 1, not 0"),
        ({"queues": {5: 1}}, "queues.5 must be a string"),
        ({"queues": []}, "queues must be a table"),
        ({"workflows": [object]}, "workflows must hold module names"),
        ({"schema": None}, "schema must be a string"),
    ],
)
def test_in_python_a_key_is_named_as_it_is_written_there(settings, sentence):
    with pytest.raises(ConfigError) as refused:
        from_mapping(settings)
    assert str(refused.value).startswith(sentence)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    contents = tmp_path / "broken.toml"
    for content, reason in [
        (b"\xff", "is not UTF-8 at byte 0"),
        (b"[durable\n", "is not valid TOML"),
        (b"a = " + b"[" * 100_000, "broken.toml"),
    ]:
        contents.write_bytes(content)
        with pytest.raises(ConfigError, match=reason):
            load(contents)
    with pytest.raises(ConfigError, match=r"missing.toml cannot be read: no such file"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load("a\0b")


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b'\xef\xbb\xbf[durable]\nname = "x"\n')
    assert load(path).durable.name == "x"


def test_retention_says_how_long_what_ended_is_kept():
    assert from_mapping({}, environ={}).retention.by_status() == {}
    config = from_mapping({"retention": {"completed": "30d", "failed": 90}}, environ={})
    assert config.retention.by_status() == {"completed": 30 * 86400.0, "failed": 90.0}
    assert set(RetentionSection.model_fields) == {state.value for state in FINAL}
    for section, said in (
        ({"running": "1d"}, "retention.running is not a known key"),
        ({"failed": 0}, "retention.failed must be more than zero"),
        ({"completed": "a month"}, "retention.completed must be a duration"),
    ):
        with pytest.raises(ConfigError, match=said):
            from_mapping({"retention": section}, environ={})


def test_each_thread_counts_as_a_connection():
    queues = {"default": {"concurrency": 9, "threads": 4}, "slow": {"concurrency": 2}}
    sections = {"queues": queues}
    count, formula = connections(from_mapping(sections))
    assert count == (3 + 1) * 4 + (2 + 1) + 2 * 2 + 7
    assert formula.startswith("19 threads of workers and spares + 2 x 2 queue managers")
