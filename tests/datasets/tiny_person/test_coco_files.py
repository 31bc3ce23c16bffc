"""Bad annotation files: one clear message each."""

import contextlib
import json
from pathlib import Path

import pytest
from mmengine.fileio import BaseStorageBackend, register_backend

from fpn_necks.coco_files import dense_files, is_ignored
from fpn_necks.datasets.tiny_person import read_coco, write_coco

from .conftest import small_coco, write


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), "no list 'images'"),
        (lambda c: c.update(categories={}), "no list 'categories'"),
        (lambda c: c["images"].append(c["images"][0]), "image id 5 occurs more than"),
        (
            lambda c: c["annotations"].append(c["annotations"][0]),
            "annotation id 1 occurs more than once",
        ),
        (lambda c: c["annotations"][0].pop("id"), "annotation without 'id'"),
        (
            lambda c: c["annotations"][2].update(image_id=99),
            "annotation 3 belongs to image 99",
        ),
        (lambda c: c["annotations"][2].update(bbox=[1, 2, 3]), r"box \[1, 2, 3\]"),
        (lambda c: c["annotations"][2].pop("bbox"), "annotation 3 has the box None"),
        (
            lambda c: c["annotations"][2].update(bbox=[0, 0, float("nan"), 1]),
            "finite numbers",
        ),
        (lambda c: c["annotations"][2].pop("category_id"), "3 has the category None"),
        (lambda c: c["images"][0].update(width=0), r"image 5 has width.*\(0, 80\)"),
        (lambda c: c["images"][0].pop("height"), "image 5 has width.*None"),
        (lambda c: c["images"][0].pop("file_name"), "image 5: the file name 'None'"),
        *(
            (lambda c, x=corner: c["images"][0].update(corner=x), "has the corner")
            for corner in ([-1, 0, 99, 80], [0.5, 0, 100.5, 80], "all")
        ),
    ],
)
def test_inconsistent(change, message: str, tmp_path: Path) -> None:
    coco = small_coco()
    change(coco)
    path = write(tmp_path / "a.json", coco)
    with pytest.raises(ValueError, match=message) as raised:
        read_coco(path)
    assert str(path) in str(raised.value)


def test_no_coco_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a.json is no COCO detection file"):
        read_coco(write(tmp_path / "a.json", [1]))
    with pytest.raises(FileNotFoundError, match="No such file") as raised:
        read_coco(tmp_path / "d.json")
    assert raised.value.filename == str(tmp_path / "d.json")


def test_what_mmdet_accepts(tmp_path: Path) -> None:
    """Sizes as floats, a byte-order mark, an address of a file backend."""
    coco = small_coco()
    coco["images"][0].update(width=100.0, corner=[0.0, 0, 100, 80.0])
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(coco).encode())
    for found in (read_coco(path), read_coco(path.as_uri(), dict(backend="memory"))):
        image = found["images"][0]
        assert [type(v) for v in (image["width"], *image["corner"])] == [int] * 5


class Memory(BaseStorageBackend):
    """Reads files of addresses."""

    def get(self, filepath: str) -> bytes:
        return Path(filepath.removeprefix("file://")).read_bytes()

    def get_text(self, filepath: str, encoding: str = "utf-8") -> str:
        return self.get(filepath).decode(encoding)

    @contextlib.contextmanager
    def get_local_path(self, filepath: str):
        yield filepath.removeprefix("file://")


register_backend("memory", Memory, force=True)


def test_writing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_coco(path, small_coco())
    assert json.loads(path.read_text()) == small_coco()
    with pytest.raises(FileExistsError, match="not overwritten"):
        write_coco(path, {})
    assert json.loads(path.read_text()) == small_coco()
    write_coco(path, dict(images=[]), overwrite=True)
    assert json.loads(path.read_text()) == dict(images=[])


def test_ignored_without_the_fields() -> None:
    assert not is_ignored({})
    assert is_ignored(dict(iscrowd=1))
    assert is_ignored(dict(logo=True))
    assert not is_ignored(dict(logo=True), fields=("ignore",))


def test_dense_by_file() -> None:
    coco = small_coco()
    tiles = [coco["images"][0] | dict(id=k) for k in (5, 6)]
    other = coco["images"][0] | dict(id=7, file_name="b.png", in_dense_image=True)
    coco["images"] = [*tiles, other]
    assert dense_files(coco) == {"b.png"}
    coco["annotations"][0]["in_dense_image"] = True
    assert dense_files(coco) == {"a.png", "b.png"}
