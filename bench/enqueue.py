"""How many executions can one client start in a second?"""

import os
from collections.abc import Callable, Iterator
from typing import Any

from bench import figures, floors, summary, workload
from bench.executions import cpu
from bench.meter import Meter
from bench.peers import running as peers
from bench.question import Question, Row, Rows, Setting, Table, WrongResultError
from durable_otp import Durable

WAYS = {"one": "one by one", "bulk": "in bulk"}


def run(setting: Setting) -> Iterator[Row]:
    """Measure both ways with ours and raw, then the peers."""
    one, many = setting.size(1_000, 20), setting.size(30_000, 1_200)
    for repetition in setting.passes():
        for row in (*_raw(setting, one, many), *_ours(setting, one, many)):
            yield {**row, "repetition": repetition}
        for answer in peers.asked(setting, "enqueue", one=one // 2, many=many // 6):
            for way in WAYS:
                shared: Row = {
                    key: answer[key] for key in ("which", "told", "error") if key in answer
                }
                yield {**shared, "way": way, **answer.get(way, {}), "repetition": repetition}


def _raw(setting: Setting, one: int, many: int) -> Iterator[Row]:
    with setting.database("enqueue") as dsn, floors.connect(dsn) as connection:
        floors.prepare(dsn)
        ways: tuple[tuple[str, str, int, Callable[[], None]], ...] = (
            ("raw INSERT", "one", one, lambda: floors.insert_each(connection, one, notify=False)),
            (
                "raw INSERT, NOTIFY",
                "one",
                one,
                lambda: floors.insert_each(connection, one, notify=True),
            ),
            ("raw INSERT", "bulk", many, lambda: floors.insert_many(connection, many)),
            ("raw COPY", "bulk", many, lambda: floors.copy(connection, many)),
        )
        for which, way, count, work in ways:
            setting.progress(f"{which}, {WAYS[way]}")
            floors.refill(connection, 0)
            yield {"which": which, "way": way, **_timed(dsn, count, work)}
            row = connection.execute("SELECT count(*) FROM floor_jobs").fetchone()
            if row != (count,):
                raise WrongResultError(f"{which} enqueued {row} jobs, not {count}")


def _ours(setting: Setting, one: int, many: int) -> Iterator[Row]:
    with setting.schema() as schema, Durable(setting.dsn, schema=schema) as durable:
        durable.migrate()
        durable.start(workload.noop, {"slot": 0})  # publishes the definition, prepares
        inputs = [{"slot": number} for number in range(many)]
        ways: tuple[tuple[str, int, Callable[[], Any]], ...] = (
            ("one", one, lambda: [durable.start(workload.noop, given) for given in inputs[:one]]),
            ("bulk", many, lambda: durable.start_many(workload.noop, inputs)),
        )
        for way, count, work in ways:
            setting.progress(f"ours, {WAYS[way]}")
            yield {"which": "ours", "way": way, **_timed(setting.dsn, count, work)}
        if durable.count_executions(status="pending") != 1 + one + many:
            raise WrongResultError(f"{durable.stats()}, not {1 + one + many} pending executions")


def _timed(dsn: str, count: int, work: Callable[[], Any]) -> Row:
    meter = Meter(dsn, [os.getpid()])
    work()
    used = meter.read()
    return {"rate": round(count / used.seconds), **used.per(count)}


def tables(rows: Rows) -> list[Table]:
    """Tell each way, ours beside everything else."""
    head = ("", "who", "starts/s", "ours / it", "client ms, it / ours", "server ms, it / ours")
    lines = []
    for way, told in WAYS.items():
        of = [row for row in summary.where(rows, way=way) if "error" not in row]
        ours = summary.where(of, which="ours")
        for (which,) in summary.distinct(of, "which"):
            it = summary.where(of, which=which)
            ratios = [] if which == "ours" else summary.ratio(ours, it, "rate")
            lines.append(
                [told, which, summary.told(it, "rate"), summary.spread(ratios), *cpu(it, ours)]
            )
    return [Table(head, lines)]


def picture(rows: Rows, figure: Any) -> None:
    """Draw both ways."""
    figures.bars(
        figure,
        [
            (
                f"starts/s, {told}",
                [
                    (which, summary.values(summary.where(rows, way=way, which=which), "rate"))
                    for (which,) in summary.distinct(rows, "which")
                ],
            )
            for way, told in WAYS.items()
        ],
    )


QUESTION = Question(
    name="enqueue",
    title="How many executions can be started in a second?",
    about="One client over one connection, nobody works meanwhile; one by one (each durable when "
    "the call returns) and in bulk (`start_many`; the peers' documented way). Raw: INSERT "
    "of a job, with and without a NOTIFY in the same transaction, an INSERT of 1,000, and "
    "COPY. A unit is one start.",
    run=run,
    tables=tables,
    picture=picture,
)
