"""File names of annotation files stay below the folder of the images."""

from __future__ import annotations

from pathlib import Path

import pytest

from fpn_necks.image_paths import (
    check_image_name,
    image_path,
    image_path_without_leaving,
)

HOSTILE = (
    "",
    ".",
    "..",
    "../x.jpg",
    "a/../../x.jpg",
    "a/..",
    "/etc/passwd",
    "//server/share/x.jpg",
    "a/",
    "C:\\x.jpg",
    "c:x.jpg",
    "\\x.jpg",
    "..\\x.jpg",
    "a\\..\\..\\x.jpg",
    "https://example.org/x.jpg",
    "s3://bucket/x.jpg",
    "file:///etc/passwd",
    "a\0.jpg",
    "\ud800.jpg",
)
HARMLESS = (
    "a.jpg",
    "train/a b/ü.jpg",
    "./a.jpg",
    "a..b.jpg",
    "...jpg",
    "~/a.jpg",
    ".hidden/a.jpg",
    "2020-01-01T10:00:00.jpg",
    "a\\b.jpg",
    "-rf",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_refused(name: str, tmp_path: Path) -> None:
    for function in (image_path, image_path_without_leaving):
        with pytest.raises(
            ValueError, match=r"the file name '.*' (leads out|has char)"
        ):
            function(tmp_path, name)


@pytest.mark.parametrize("name", [None, 3, b"a.jpg", ["a.jpg"]])
def test_no_text(name: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no text"):
        image_path(tmp_path, name)


@pytest.mark.parametrize("name", HARMLESS)
def test_taken(name: str, tmp_path: Path) -> None:
    assert check_image_name(name) == name
    for function in (image_path, image_path_without_leaving):
        path = function(tmp_path, name)
        assert path == tmp_path / name
        assert path.resolve().is_relative_to(tmp_path)


def test_links(tmp_path: Path) -> None:
    root, outside = tmp_path / "images", tmp_path / "outside"
    outside.mkdir()
    (outside / "x.jpg").write_bytes(b"")
    (tmp_path / "real").mkdir()
    root.symlink_to(tmp_path / "real")
    (root / "a.jpg").symlink_to(outside / "x.jpg")
    (root / "folder").symlink_to(outside)
    (root / "b.jpg").write_bytes(b"")
    (root / "c.jpg").symlink_to("b.jpg")
    for name in ("b.jpg", "c.jpg", "new/d.jpg"):
        assert image_path_without_leaving(root, name) == root / name
    for name in ("a.jpg", "folder/x.jpg", "folder/new.jpg"):
        assert image_path(root, name) == root / name
        with pytest.raises(ValueError, match="by a link"):
            image_path_without_leaving(root, name)
