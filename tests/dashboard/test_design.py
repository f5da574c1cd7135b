"""The design language against the files: contrasts, tokens, and nothing inline."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "durable_otp" / "dashboard"
TOKENS = (PACKAGE / "static" / "tokens.css").read_text(encoding="utf-8")
DESIGN = (PACKAGE / "DESIGN.md").read_text(encoding="utf-8")
SHEETS = [PACKAGE / "static" / name for name in ("page.css", "pictures.css")]
TEMPLATES = sorted((PACKAGE / "templates").glob("*.html"))
COLOURS = {
    name: pair
    for name, *pair in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TOKENS
    )
}
THEMES = ("light", "dark")
SURFACES = ("canvas", "panel", "raised", "sunken", "hover")
MEANINGS = ("idle", "run", "warn", "ok", "bad", "undo")


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other, theme):
    number = THEMES.index(theme)
    values = sorted(luminance(COLOURS[name][number]) for name in (one, other))
    return (values[1] + 0.05) / (values[0] + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("surface", SURFACES)
def test_what_is_read_is_readable_on_every_surface(theme, surface):
    for text in ("text", "muted", *MEANINGS):
        assert contrast(text, surface, theme) >= 4.5, text


@pytest.mark.parametrize("theme", THEMES)
def test_a_meaning_is_readable_on_its_own_ground(theme):
    for meaning in MEANINGS:
        assert contrast(meaning, f"{meaning}-ground", theme) >= 4.5, meaning
        assert contrast("text", f"{meaning}-ground", theme) >= 4.5, meaning
    assert contrast("muted", "run-ground", theme) >= 4.5
    assert contrast("on-accent", "run", theme) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("surface", SURFACES)
def test_a_control_and_the_focus_are_seen_on_every_surface(theme, surface):
    assert contrast("control", surface, theme) >= 3
    assert contrast("focus", surface, theme) >= 3


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: path.name)
def test_a_sheet_has_no_colour_of_its_own(sheet):
    text = re.sub(r"rgb\(0 0 0 / [\d.]+\)", "", sheet.read_text(encoding="utf-8"))
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(|oklch\(", text) == []


def test_every_token_that_is_used_exists_and_every_one_is_used_and_explained():
    known = set(re.findall(r"^  --([\w-]+):", TOKENS, re.MULTILINE))
    used = {
        name for sheet in SHEETS for name in re.findall(r"var\(--([\w-]+)\)", sheet.read_text())
    }
    assert used <= known
    assert known == used
    grounds = {f"{meaning}-ground" for meaning in MEANINGS}
    spaces = {name for name in known if re.fullmatch(r"s\d", name)}
    assert {name for name in known - grounds - spaces if f"`--{name}`" not in DESIGN} == set()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_nothing_inline_and_switches_no_escaping_off(template):
    text = template.read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|hx-vals", text) == []
    assert re.findall(r"\|\s*safe\b|autoescape", text) == []
    assert re.findall(r"https?://(?!www\.w3\.org)", text) == []


def test_our_scripts_evaluate_nothing():
    for script in (PACKAGE / "static").glob("*.js"):
        text = script.read_text(encoding="utf-8")
        assert re.findall(r"\beval\(|new Function|innerHTML|outerHTML|document\.write", text) == []
