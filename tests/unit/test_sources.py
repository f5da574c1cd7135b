"""Which files of a project are watched, and what counts as a change."""

import os
from pathlib import Path

from durable_otp.cli.sources import changed, sources


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_project_s_python_files_and_its_configuration_are_watched(tmp_path: Path) -> None:
    config = write(tmp_path / "etc" / "config.toml")
    here = tmp_path / "here"
    ours = [write(here / "shop.py"), write(here / "package" / "deep" / "module.py")]
    for name in (".hidden", "node_modules", "__pycache__", "lib/site-packages"):
        write(here / name / "theirs.py")
    write(here / "env" / "pyvenv.cfg")
    write(here / "env" / "bin" / "tool.py")
    write(here / "notes.txt")
    assert set(sources([str(here)], config)) == {str(config), *map(str, ours)}


def test_what_is_written_made_or_removed_is_named(tmp_path: Path) -> None:
    config = write(tmp_path / "config.toml")
    same, written, removed = (write(tmp_path / f"{name}.py", name) for name in ("a", "b", "c"))
    before = sources([str(tmp_path)], config)
    assert changed(before, sources([str(tmp_path)], config)) == []
    write(written, "longer")
    removed.unlink()
    made = write(tmp_path / "d.py")
    assert changed(before, sources([str(tmp_path)], config)) == [
        str(path) for path in (written, removed, made)
    ]
    later = sources([str(tmp_path)], config)
    os.utime(same, ns=(1, 1))  # as long as before, written again
    assert changed(later, sources([str(tmp_path)], config)) == [str(same)]


def test_a_configuration_that_is_gone_is_a_change(tmp_path: Path) -> None:
    config = write(tmp_path / "config.toml")
    before = sources([], config)
    config.unlink()
    assert changed(before, sources([], config)) == [str(config)]
