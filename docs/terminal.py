"""A session as an animated picture: an SVG that fetches nothing and runs no script."""

from xml.sax.saxutils import escape

WIDEST = 108
LINE = 19
GLYPH = 7.83
MARGIN = 18
TITLE_BAR = 34
TYPED, PRINTED = 1.4, 0.12  # seconds before a command, and before a line of its output
REST = 6.0
COLOURS = (
    ("failed", "#f7768e"), ("kill -9", "#f7768e"), ("completed", "#9ece6a"), ("running", "#7dcfff"),
)  # fmt: skip
STYLE = """
  .frame { fill: #1a1b26 } .bar { fill: #24283b } .title { fill: #a9b1d6 }
  text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #c0caf5 }
  .typed { fill: #e0af68 }
  .line { opacity: 0; animation: %(length).1fs step-end infinite }
  @media (prefers-reduced-motion: reduce) { .line { opacity: 1; animation: none } }
"""


def picture(session: str, *, title: str) -> str:
    """Return the picture of a session, its lines appearing as they were typed and printed."""
    lines = [_cut(line) for line in session.splitlines()]
    moments = _moments(lines)
    length = (moments[-1] if moments else 0) + REST
    width = MARGIN * 2 + int(max((len(line) for line in lines), default=0) * GLYPH)
    height = TITLE_BAR + MARGIN * 2 + LINE * len(lines)
    drawn = [_line(number, line) for number, line in enumerate(lines)]
    size = f'width="{width}" height="{height}"'
    middle = f'x="{width // 2}" y="22" text-anchor="middle"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE % {'length': length}}{_keyframes(moments, length)}</style>",
        f'<rect class="frame" {size} rx="8"/>',
        f'<rect class="bar" width="{width}" height="{TITLE_BAR}" rx="8"/>',
        f'<text class="title" {middle}>{escape(title)}</text>',
        *drawn,
        "</svg>\n",
    ]
    return "\n".join(parts)


def _cut(line: str) -> str:
    return line if len(line) <= WIDEST else f"{line[: WIDEST - 1]}…"


def _moments(lines: list[str]) -> list[float]:
    """Return when each line appears: commands after a pause, output line by line."""
    moments, now = [], 0.0
    for line in lines:
        now += TYPED if line.startswith("$ ") else PRINTED
        moments.append(round(now, 2))
    return moments


def _keyframes(moments: list[float], length: float) -> str:
    return "".join(
        f"  .l{number} {{ animation-name: s{number} }} @keyframes s{number} "
        f"{{ 0% {{ opacity: 0 }} {moment / length:.2%} {{ opacity: 1 }} to {{ opacity: 1 }} }}\n"
        for number, moment in enumerate(moments)
    )


def _line(number: int, line: str) -> str:
    y = TITLE_BAR + MARGIN + LINE * number + 10
    kind = " typed" if line.startswith("$ ") else ""
    text = escape(line)
    for word, colour in COLOURS:
        text = text.replace(word, f'<tspan fill="{colour}">{word}</tspan>', 1)
    place = f'x="{MARGIN}" y="{y}" xml:space="preserve"'
    return f'<text class="line l{number}{kind}" {place}>{text}</text>'
