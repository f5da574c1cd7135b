"""What makes a site of these pages: others of the repository join, and nothing is fetched.

A hook of mkdocs (``mkdocs build --strict``). On GitHub a page links to what lies beside ``docs``;
on the site those files are pages of their own.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
JOINING = ("bench/README.md", "CHANGELOG.md")
OUTSIDE = re.compile(rf"\]\(((?:\.\./)+)((?:{'|'.join(map(re.escape, JOINING))})[^)]*)\)")
FETCHED = re.compile(
    r'<(?:script|img|iframe|source)[^>]*\ssrc(?:set)?="(?:https?:)?//[^"]+"'
    r'|<link[^>]*rel="(?:stylesheet|preconnect|preload)"[^>]*href="(?:https?:)?//[^"]+"'
)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and pictures that lie beside ``docs``."""
    pictures = sorted((ROOT / "bench" / "pictures").glob("*.svg"))
    for path in [*(ROOT / name for name in JOINING), *pictures]:
        place = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links out of ``docs`` to where those pages are on the site."""
    out = page.file.src_uri.count("/") + 1

    def inside(link: re.Match[str]) -> str:
        ups = link[1].count("../")
        return f"]({'../' * (ups - 1)}{link[2]})" if ups == out else link[0]

    return OUTSIDE.sub(inside, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that would fetch something from another machine.

    Raises:
        PluginError: It names what would be fetched.
    """
    if found := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} fetches from elsewhere: {found[0]}")
    return output
