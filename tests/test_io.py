"""Whole or not at all: full disks, interruptions, links, devices; names of images."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from fpn_necks.io import (
    atomic_write,
    check_image_name,
    image_path_without_leaving,
    is_same_file,
    require_empty,
    save_figure,
    write_bytes,
    write_json,
    write_text,
)
from tests.full_disk import limit_writing, tree


def test_writes_and_makes_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "α.txt"
    write_text(path, "α\n")
    assert tree(tmp_path) == {"new/deeper/α.txt": "α\n".encode()}
    write_json(path, dict(a=[1]), indent=1)
    assert path.read_text() == '{\n "a": [\n  1\n ]\n}\n'


def test_the_name_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        (other,) = set(tmp_path.iterdir()) - {path}
        assert other.name.startswith(".") and other.suffix == ".part"
    assert tree(tmp_path) == {"a.bin": b"new"}


@pytest.mark.parametrize("room", [0, 1, 2])
def test_full_disk(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"old")
    limit_writing(monkeypatch, room)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a'") as caught:
        write_bytes(tmp_path / "a", b"new")
    assert caught.value.errno == errno.ENOSPC
    assert tree(tmp_path) == {"a": b"old"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_interrupted(error: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(error), atomic_write(tmp_path / "a") as file:
        file.write(b"new")
        raise error
    assert tree(tmp_path) == {"a": b"old"}


def test_an_error_about_another_file_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        with atomic_write(tmp_path / "a") as file:
            file.write(Path(tmp_path / "missing").read_bytes())
    assert not tree(tmp_path)


def test_no_overwriting(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"1", overwrite=False)
    with pytest.raises(FileExistsError, match="a exists; it is not overwritten"):
        write_bytes(path, b"2", overwrite=False)
    # Another process was faster.
    path.unlink()
    with pytest.raises(FileExistsError, match="not overwritten"):
        with atomic_write(path, overwrite=False):
            path.write_bytes(b"theirs")
    assert tree(tmp_path) == {"a": b"theirs"}


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "nowhere", b"new", overwrite=False)
    for name in ("link", "nowhere"):
        write_bytes(tmp_path / name, b"new")
        assert not (tmp_path / name).is_symlink()
    assert tree(tmp_path) == dict(precious=b"old", link=b"new", nowhere=b"new")


def test_folders_and_devices_are_no_targets(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, message in (
        (tmp_path, "is a folder or a device, not a file"),
        (Path(os.devnull), "is a folder or a device, not a file"),
        (tmp_path / "file" / "a", ""),
    ):
        with pytest.raises(OSError, match=message):
            write_bytes(path, b"1")
    assert tree(tmp_path) == {"file": b""}


def test_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"1")
    finally:
        os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    (tmp_path / "a").chmod(0o600)
    write_bytes(tmp_path / "a", b"2")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_long_names(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        write_bytes(tmp_path / name, b"1")
    assert len(tree(tmp_path)) == 2
    with pytest.raises(OSError, match="File name too long: '.*xxx'"):
        write_bytes(tmp_path / ("x" * 256), b"1")
    name = os.fsdecode(b"caf\xe9")  # not UTF-8
    write_bytes(tmp_path / name, b"1")
    assert (tmp_path / name).read_bytes() == b"1"


def test_figures(tmp_path: Path) -> None:
    for name, start in (("a.png", b"\x89PNG"), ("b.PDF", b"%PDF"), ("c", b"\x89PNG")):
        save_figure(Figure(figsize=(1, 1)), tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(ValueError, match="xyz"):
        save_figure(Figure(figsize=(1, 1)), tmp_path / "d.xyz")
    assert len(tree(tmp_path)) == 3


def test_same_file_by_any_spelling(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    (tmp_path / "link").symlink_to(path)
    os.link(path, tmp_path / "hard")
    (tmp_path / "folder").symlink_to(tmp_path)
    for name in ("a", "link", "hard", "folder/a", "folder/folder/a"):
        assert is_same_file(tmp_path / name, path)
    (tmp_path / "b").write_bytes(b"1")
    assert not is_same_file(tmp_path / "b", path)
    missing = tmp_path / "missing"
    assert is_same_file(tmp_path / "folder" / "missing", missing)
    assert not is_same_file(missing, path)


def test_require_empty(tmp_path: Path) -> None:
    require_empty(tmp_path, "--force")
    require_empty(tmp_path / "missing", "--force")
    (tmp_path / ".hidden").write_bytes(b"")
    with pytest.raises(FileExistsError, match="holds files; give a new folder, or -"):
        require_empty(tmp_path, "--force")
    with pytest.raises(NotADirectoryError, match="hidden is a file"):
        require_empty(tmp_path / ".hidden", "--force")


HOSTILE = (
    "", ".", "..", "../x.jpg", "a/../../x.jpg", "a/..", "/etc/passwd", "a/",
    "//server/share/x.jpg", "C:\\x.jpg", "c:x.jpg", "\\x.jpg", "..\\x.jpg",
    "a\\..\\..\\x.jpg", "https://example.org/x.jpg", "s3://bucket/x.jpg",
    "file:///etc/passwd", "a\0.jpg", "\ud800.jpg",
)  # fmt: skip
HARMLESS = (
    "a.jpg", "train/a b/ü.jpg", "./a.jpg", "a..b.jpg", "...jpg", "~/a.jpg",
    ".hidden/a.jpg", "2020-01-01T10:00:00.jpg", "a\\b.jpg", "-rf",
)  # fmt: skip


@pytest.mark.parametrize("name", [*HOSTILE, None, 3, b"a.jpg", ["a.jpg"]])
def test_refused(name: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the file name .* leads out"):
        image_path_without_leaving(tmp_path, name)


@pytest.mark.parametrize("name", HARMLESS)
def test_taken(name: str, tmp_path: Path) -> None:
    assert check_image_name(name) == name
    assert image_path_without_leaving(tmp_path, name) == tmp_path / name


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
        with pytest.raises(ValueError, match="by a link"):
            image_path_without_leaving(root, name)
