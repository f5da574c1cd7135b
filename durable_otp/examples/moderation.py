"""Content moderation: three scans side by side, and a person where they are not sure."""

from typing import Any

from durable_otp import Context, Ok, Workflow, wait_for_choice

BAD_WORDS = ("scam", "casino")
SUSPICIOUS, CERTAIN = 0.4, 0.8
PATIENCE = 86_400

moderate_content = Workflow("moderate_content")

with moderate_content.parallel(name="scans") as scans:

    @moderate_content.step
    def scan_words(ctx: Context) -> float:
        """Look for words: each one weighs a half."""
        return min(1.0, 0.5 * sum(word in ctx["text"] for word in BAD_WORDS))

    @moderate_content.step
    def scan_links(ctx: Context) -> float:
        """Look for links: each one weighs a fifth."""
        text: str = ctx["text"]
        return min(1.0, 0.2 * text.count("http"))

    @moderate_content.step
    def scan_shouting(ctx: Context) -> float:
        """Look for capitals: a text of nothing else weighs a half."""
        text: str = ctx["text"]
        letters = [letter for letter in text if letter.isalpha()]
        return 0.5 * sum(letter.isupper() for letter in letters) / max(1, len(letters))


@scans.into
def judge(_: Context, results: Any) -> dict[str, Any]:
    """Take the worst score; a scan that broke proves nothing and is left to a person."""
    scores = [each.value if isinstance(each, Ok) else SUSPICIOUS for each in results.values()]
    return {"score": max(scores)}


def risk(ctx: Context) -> str:
    """Say what the score means."""
    if ctx["score"] >= CERTAIN:
        return "high"
    return "medium" if ctx["score"] >= SUSPICIOUS else "low"


with moderate_content.branch(risk, name="risk") as by_risk:
    with by_risk.case("high"):

        @moderate_content.step
        def remove() -> dict[str, Any]:
            """Take it down."""
            return {"verdict": "removed"}

    with by_risk.case("medium"):

        @moderate_content.step
        def review(ctx: Context) -> dict[str, Any]:
            """Ask a person; without an answer it stays hidden."""
            verdict = wait_for_choice(
                "verdict",
                choices=["published", "hidden", "removed"],
                prompt=ctx["text"],
                timeout=ctx.get("patience", PATIENCE),
                timeout_value="hidden",
            )
            return {"verdict": verdict}

    with by_risk.default():

        @moderate_content.step
        def publish() -> dict[str, Any]:
            """Let it through."""
            return {"verdict": "published"}
