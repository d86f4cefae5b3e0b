"""Whoever reads a file that is being written sees the old one or the new one, never a part."""

from __future__ import annotations

from pathlib import Path

import pytest

from legato.whole_file import whole_file


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with whole_file(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text("ne")
        raise OSError("the disk is full")


def test_after_an_error_nothing_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="full"):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with whole_file(path) as unfinished:
        unfinished.write_text("text")
    assert path.read_text() == "text"
