"""Where the nodes of a workflow are drawn: pure geometry from a published definition.

Workflows are sequences in blocks in sequences, so the picture is made the same way: a sequence goes
down, what is beside each other in a block goes to the right. The same definition always gives the
same picture, whatever the execution does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

CARD_WIDTH, CARD_HEIGHT = 208, 54
PILL_WIDTH, PILL_HEIGHT = 64, 26
GAP_DOWN, GAP_RIGHT = 34, 26
FAN_DOWN = 48
LANE = 16
JOIN_DOWN = 26
LABEL_UP = 13
MARGIN = 20

Node = dict[str, Any]
Point = tuple[float, float]


@dataclass(frozen=True)
class Card:
    """One node's place; ``kind`` is that of the definition, or "start" or "end"."""

    path: str
    kind: str
    label: str
    x: float
    y: float
    width: float = CARD_WIDTH
    height: float = CARD_HEIGHT

    @property
    def top(self) -> Point:
        """Where edges arrive."""
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> Point:
        """Where edges leave."""
        return self.x + self.width / 2, self.y + self.height


@dataclass(frozen=True)
class Edge:
    """A line from one node to another through right angles; ``label`` is a branch's clause."""

    start: str
    end: str
    points: tuple[Point, ...]
    kind: Literal["next", "clause", "join", "jump"] = "next"
    label: str | None = None

    @property
    def path(self) -> str:
        """The line as SVG writes it, its corners rounded."""
        return rounded(self.points)

    @property
    def label_at(self) -> Point:
        """Where the label goes: on the last vertical part."""
        x, y = self.points[-1]
        return x, y - LABEL_UP


@dataclass
class _Part:
    """A piece of the picture with its own origin: in at the top of its axis, out at the bottom."""

    width: float = 0.0
    height: float = 0.0
    axis: float = 0.0
    cards: list[Card] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    first: str = ""
    lasts: list[str] = field(default_factory=list)

    def moved(self, x: float, y: float) -> "_Part":
        """Return the piece elsewhere."""
        return replace(
            self,
            axis=self.axis + x,
            cards=[replace(card, x=card.x + x, y=card.y + y) for card in self.cards],
            edges=[
                replace(edge, points=tuple((px + x, py + y) for px, py in edge.points))
                for edge in self.edges
            ],
        )


@dataclass(frozen=True)
class Drawing:
    """The whole picture, in pixels."""

    width: float
    height: float
    cards: tuple[Card, ...]
    edges: tuple[Edge, ...]


def drawing(nodes: Sequence[Node]) -> Drawing:
    """Return the picture of a definition's nodes."""
    body = _sequence(nodes)
    top, bottom = PILL_HEIGHT + GAP_DOWN, GAP_DOWN + PILL_HEIGHT
    body = body.moved(0, top)
    pill = body.axis - PILL_WIDTH / 2
    start = Card("", "start", "start", pill, 0, PILL_WIDTH, PILL_HEIGHT)
    end = Card("", "end", "end", pill, top + body.height + GAP_DOWN, PILL_WIDTH, PILL_HEIGHT)
    edges = [
        Edge("", body.first, (start.bottom, (body.axis, top))),
        *body.edges,
        *(Edge(last, "", ((body.axis, top + body.height), end.top)) for last in body.lasts[:1]),
    ]
    jumps = list(_jumps(nodes, body.cards, body.width))
    left = min(0.0, pill)
    right = max([body.width, pill + PILL_WIDTH, *(x for jump in jumps for x, _ in jump.points)])
    whole = _Part(cards=[start, *body.cards, end], edges=[*edges, *jumps]).moved(
        MARGIN - left, MARGIN
    )
    height = top + body.height + bottom + 2 * MARGIN
    return Drawing(right - left + 2 * MARGIN, height, tuple(whole.cards), tuple(whole.edges))


def every_node(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield the nodes of a published definition and everything in them."""
    for node in nodes:
        yield node
        for inner in _inner(node):
            yield from every_node(inner)


def rounded(points: Sequence[Point], radius: float = 8.0) -> str:
    """Return a line through points as an SVG path whose corners are rounded."""
    parts = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        into, out = _towards(corner, before, radius), _towards(corner, after, radius)
        parts.append(f"L{into[0]:g} {into[1]:g}Q{corner[0]:g} {corner[1]:g} {out[0]:g} {out[1]:g}")
    parts.append(f"L{points[-1][0]:g} {points[-1][1]:g}")
    return "".join(parts)


def name_of(path: str) -> str:
    """Return a node's own name."""
    return path.rpartition("/")[2]


def _towards(corner: Point, other: Point, radius: float) -> Point:
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    share = 0.0 if length == 0 else min(radius, length / 2) / length
    return corner[0] + dx * share, corner[1] + dy * share


def _inner(node: Node) -> list[Sequence[Node]]:
    if node["kind"] == "branch":
        return [clause["nodes"] for clause in node["clauses"]]
    return [node["nodes"]] if node["kind"] == "parallel" else []


def _sequence(nodes: Sequence[Node]) -> _Part:
    parts = [_block(node) for node in nodes]
    axis = max(part.axis for part in parts)
    whole = _Part(axis=axis, first=parts[0].first, lasts=parts[-1].lasts)
    y = 0.0
    for number, part in enumerate(parts):
        placed = part.moved(axis - part.axis, y)
        if number:
            for last in parts[number - 1].lasts[:1]:
                line = ((axis, y - GAP_DOWN), (axis, y))
                whole.edges.append(Edge(last, part.first, line))
        whole.cards += placed.cards
        whole.edges += placed.edges
        whole.width = max(whole.width, axis - part.axis + part.width)
        y += part.height + GAP_DOWN
    whole.height = y - GAP_DOWN
    return whole


def _block(node: Node) -> _Part:
    path = node["path"]
    card = Card(path, node["kind"], name_of(path), 0, 0)
    if node["kind"] == "branch":
        clauses = node["clauses"]
        columns = [_sequence(clause["nodes"]) for clause in clauses]
        labels: list[str | None] = [clause["label"] for clause in clauses]
        if all(clause["values"] for clause in clauses):
            columns.append(_Part(width=CARD_WIDTH / 3, axis=CARD_WIDTH / 6))
            labels.append("otherwise")
        return _fan(card, columns, labels)
    if node["kind"] == "parallel":
        columns = [_block(each) for each in node["nodes"]]
        return _fan(card, columns, [None] * len(columns))
    return _Part(CARD_WIDTH, CARD_HEIGHT, CARD_WIDTH / 2, [card], [], path, [path])


def _fan(card: Card, columns: list[_Part], labels: list[str | None]) -> _Part:
    """Return a block: its card on top, its columns beside each other, joined again below."""
    total = sum(column.width for column in columns) + GAP_RIGHT * (len(columns) - 1)
    width = max(total, CARD_WIDTH)
    tallest = max(column.height for column in columns)
    axis, top = width / 2, CARD_HEIGHT + FAN_DOWN
    bottom = top + tallest
    whole = _Part(width, bottom + JOIN_DOWN, axis, [replace(card, x=axis - CARD_WIDTH / 2)])
    whole.first, whole.lasts = card.path, [card.path]
    x = (width - total) / 2
    for column, label in zip(columns, labels, strict=True):
        placed = column.moved(x, top)
        whole.cards += placed.cards
        whole.edges += [*_into(card, placed, label, axis, top), *placed.edges]
        whole.edges += _out_of(card, placed, axis, top + column.height, bottom)
        x += column.width + GAP_RIGHT
    return whole


def _into(card: Card, column: _Part, label: str | None, axis: float, top: float) -> list[Edge]:
    turn = CARD_HEIGHT + FAN_DOWN / 3
    points = ((axis, CARD_HEIGHT), (axis, turn), (column.axis, turn), (column.axis, top))
    kind: Literal["next", "clause"] = "next" if label is None else "clause"
    return [Edge(card.path, column.first, _straightened(points), kind, label)]


def _out_of(card: Card, column: _Part, axis: float, ends: float, bottom: float) -> list[Edge]:
    turn = bottom + JOIN_DOWN / 2
    points = ((column.axis, ends), (column.axis, turn), (axis, turn), (axis, bottom + JOIN_DOWN))
    last = column.lasts[0] if column.lasts else ""
    return [Edge(last or card.path, "" if last else "otherwise", _straightened(points), "join")]


def _straightened(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """Return a line without the corners that are none."""
    return (points[0], points[-1]) if points[0][0] == points[-1][0] else points


def _jumps(nodes: Sequence[Node], cards: Sequence[Card], width: float) -> Iterator[Edge]:
    """Yield a line beside the picture for every jump that a decision says it may make."""
    place = {card.path: card for card in cards}
    lane = 0
    for node in every_node(nodes):
        for target in node.get("targets") or ():
            card, to = place[node["path"]], _target(place, node["path"], target)
            if to is None:
                continue
            lane += 1
            x = width + LANE * lane
            start = (card.x + card.width, card.y + card.height / 2)
            end = (to.x + to.width, to.y + to.height / 2 + (8 if to is card else 0))
            points = (start, (x, start[1]), (x, end[1]), end)
            yield Edge(card.path, to.path, points, "jump", f"goto {name_of(to.path)}")


def _target(place: dict[str, Card], path: str, target: str) -> Card | None:
    """Return the card that a jump means: by its path, or by its name in an enclosing sequence."""
    if target in place:
        return place[target]
    around = path
    while around:
        around = around.rpartition("/")[0]
        found = place.get(f"{around}/{target}" if around else target)
        if found is not None:
            return found
    return None
