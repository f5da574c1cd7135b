"""The pictures: one figure per question, saved for a light and for a dark page."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import summary
from bench.question import Question, Rows

LOOKS = {
    "light": {"text": "#24292f", "faint": "#d0d7de", "page": "#ffffff"},
    "dark": {"text": "#e6edf3", "faint": "#30363d", "page": "#0d1117"},
}
# Okabe and Ito's colours: to be told apart by everybody, on white and on black
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#f0e442")
MARKERS = "osD^vPX*"
FIRST = ("ours", "raw")  # in the same colours everywhere


def save(question: Question, rows: Rows, directory: Path) -> list[str]:
    """Draw a question's rows for both pages; return the files' names.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - the suite runs without it
    from matplotlib.figure import Figure  # noqa: PLC0415

    names = []
    directory.mkdir(parents=True, exist_ok=True)
    for look, colours in LOOKS.items():
        with rc_context(_style(colours)):
            figure = Figure(figsize=(9, 3.6), layout="constrained")
            if question.picture is not None:
                question.picture(rows, figure)
            names.append(f"{question.name}-{look}.svg")
            figure.savefig(directory / names[-1], metadata={"Date": None})
    return names


def _style(look: dict[str, str]) -> dict[str, Any]:
    named = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"),
        look["text"],
    )
    return {
        **named,
        "axes.edgecolor": look["faint"],
        "grid.color": look["faint"],
        "axes.facecolor": look["page"],
        "figure.facecolor": look["page"],
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "font.size": 9,
        "svg.hashsalt": "durable-otp",
        "svg.fonttype": "none",
    }


def lines(
    figure: Any,
    rows: Rows,
    *,
    x: tuple[str, str],
    y: tuple[str, str],
    series: str,
    panels: tuple[str, str] | None = None,
) -> None:
    """Draw medians with their interval over x, a line for each series, perhaps in panels.

    ``x`` and ``y`` are (key, label), ``panels`` is (key, title with ``{}`` for the value).
    """
    keys = [value for (value,) in summary.distinct(rows, panels[0])] if panels else [None]
    axes = figure.subplots(1, len(keys), squeeze=False)[0]
    found = [name for (name,) in summary.distinct(rows, series)]
    names = [name for name in FIRST if name in found]
    names += [name for name in found if name not in FIRST]
    for place, key in zip(axes, keys, strict=True):
        shown = summary.where(rows, **{panels[0]: key}) if panels else list(rows)
        ticks = sorted({row[x[0]] for row in shown})
        for number, name in enumerate(names):
            of_series = summary.where(shown, **{series: name})
            points = [
                (at, summary.values(summary.where(of_series, **{x[0]: tick}), y[0]))
                for at, tick in enumerate(ticks)
            ]
            _line(place, [(at, found) for at, found in points if found], number, str(name))
        place.set_xticks(range(len(ticks)), [f"{tick:,}" for tick in ticks])
        place.set_xlabel(x[1])
        place.set_ylim(bottom=0)
        if panels:
            place.set_title(panels[1].format(key))
    axes[0].set_ylabel(y[1])
    axes[-1].legend()


def _line(
    place: Any, points: Sequence[tuple[int, Sequence[float]]], number: int, name: str
) -> None:
    places = [at for at, _ in points]
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    middles = [statistics.median(found) for _, found in points]
    place.plot(places, middles, color=colour, marker=marker, label=name)
    lowest, highest = [min(found) for _, found in points], [max(found) for _, found in points]
    place.fill_between(places, lowest, highest, color=colour, alpha=0.2, linewidth=0)


def bars(figure: Any, panels: Sequence[tuple[str, Sequence[tuple[str, Sequence[float]]]]]) -> None:
    """Draw panels of bars: (title, [(name, the repetitions)]); the tick is the interval."""
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, (title, entries) in zip(axes, panels, strict=True):
        shown = [(name, found) for name, found in entries if found]
        for row, (name, found) in enumerate(shown):
            middle = statistics.median(found)
            reach = [[middle - min(found)], [max(found) - middle]]
            colour = COLOURS[0] if name.startswith("ours") else COLOURS[1 if "raw" in name else 6]
            place.barh(row, middle, color=colour, xerr=reach, ecolor=COLOURS[6], height=0.7)
            place.annotate(f" {summary.figure(middle)}", (middle, row), va="center")
        place.set_yticks(range(len(shown)), [name for name, _ in shown])
        place.invert_yaxis()
        place.margins(x=0.2)
        place.set_xlim(left=0)
        place.grid(visible=False, axis="y")
        place.set_title(title)
