"""A workflow's picture with nothing on it: as it is defined, before anything has run."""

from durable_otp.dashboard.flow import DrawnCard, DrawnEdge, Flow, Seen
from durable_otp.dashboard.flow_layout import Drawing


def still(picture: Drawing) -> Flow:
    """Return a picture on which nothing has happened."""
    cards = tuple(DrawnCard(card, Seen(), is_current=False) for card in picture.cards)
    return Flow(picture, cards, tuple(DrawnEdge(edge, taken=False) for edge in picture.edges))
