"""The folder of results: what counts as done, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from fpn_necks.inference.folders import ResultFolder, find_images

SETTINGS = dict(tile_wh=(64, 48), score_threshold=0.25)


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    """Images by name, outside of the folder of results."""
    folder = tmp_path.parent / f"{tmp_path.name}-images"
    found = {name: folder / name for name in ("a.png", "sub/b.jpg")}
    for path in found.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return found


def sample_of(*boxes: tuple[float, ...]) -> DetDataSample:
    return DetDataSample(
        metainfo=dict(ori_shape=(30, 40), img_shape=(30, 40)),
        pred_instances=InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4),
            scores=torch.arange(len(boxes)) / 4,
            labels=torch.arange(len(boxes)),
        ),
    )


class TestFindImages:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        for name in ("b.PNG", "sub/a.jpeg", "notes.txt", "out/drawn/b.PNG"):
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        (tmp_path / "in" / "folder.png").mkdir()
        return tmp_path / "in"

    def test_folder_and_one_file_of_any_suffix(self, source: Path) -> None:
        found = find_images(source, source / "out")
        assert list(found.items()) == [
            ("b.PNG", source / "b.PNG"),
            ("sub/a.jpeg", source / "sub/a.jpeg"),
        ]
        path = source / "notes.txt"
        assert find_images(path, source / "out") == {"notes.txt": path}

    def test_links_are_followed_and_hidden_files_left_out(
        self, source: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "c.png").write_text("")
        (source / "cam1").symlink_to(tmp_path / "far")
        (source / "gone.png").symlink_to(tmp_path / "gone")
        for name in ("._b.PNG", ".cache/d.png"):
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_text("")
        found = find_images(source, source / "out")
        assert list(found) == ["b.PNG", "cam1/c.png", "sub/a.jpeg"]
        # Who names it wants it.
        assert list(find_images(source / "._b.PNG", source / "out")) == ["._b.PNG"]

    def test_refusals(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="missing is no image and no fold"):
            find_images(tmp_path / "missing", tmp_path / "out")
        with pytest.raises(FileNotFoundError, match="no images"):
            find_images(source / "folder.png", tmp_path / "out")
        for output in (source / "sub" / "..", source.parent):
            with pytest.raises(ValueError, match="another folder"):
                find_images(source, output)


class TestResultFolder:
    def test_coco_files_and_old_pictures(
        self, tmp_path: Path, paths: dict[str, Path]
    ) -> None:
        folder = ResultFolder(tmp_path, SETTINGS)
        assert folder.load("a.png", paths["a.png"]) is None
        paths["empty.png"] = paths["a.png"]
        folder.save("empty.png", paths["empty.png"], sample_of())
        picture = tmp_path / "drawn" / "sub" / "b.jpg"
        picture.parent.mkdir(parents=True)
        picture.touch()
        sample = sample_of((1, 2, 5.5, 8), (0, 0, 40, 30))
        folder.save("sub/b.jpg", paths["sub/b.jpg"], sample)
        assert not picture.exists(), "one of other detections must not stay"
        assert folder.write_coco(paths, ("x", "y")) == (2, 2)
        images = json.loads((tmp_path / "images.json").read_text())
        assert images == dict(
            images=[
                dict(id=2, file_name="sub/b.jpg", width=40, height=30),
                dict(id=3, file_name="empty.png", width=40, height=30),
            ],
            annotations=[],
            categories=[dict(id=1, name="x"), dict(id=2, name="y")],
        )
        results = json.loads((tmp_path / "detections.json").read_text())
        assert results == [
            dict(image_id=2, category_id=1, bbox=[1, 2, 4.5, 6], score=0),
            dict(image_id=2, category_id=2, bbox=[0, 0, 40, 30], score=0.25),
        ]

    def test_foreign_folder(self, tmp_path: Path) -> None:
        (tmp_path / "holiday.txt").write_text("")
        with pytest.raises(ValueError, match="holds other files"):
            ResultFolder(tmp_path, SETTINGS)
        assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]
        with pytest.raises(FileExistsError, match="holiday"):
            ResultFolder(tmp_path / "holiday.txt", SETTINGS)
        ResultFolder(tmp_path, SETTINGS, force=True)

    @pytest.mark.parametrize("content", ["{", "[1]", '{"mine": 1}'])
    def test_damaged_or_foreign_settings(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "settings.json").write_text(content)
        (tmp_path / "detections").mkdir()
        with pytest.raises(ValueError, match="other settings"):
            ResultFolder(tmp_path, SETTINGS)
        assert (tmp_path / "settings.json").read_text() == content
        (tmp_path / "detections").rmdir()  # nothing was detected yet
        ResultFolder(tmp_path, SETTINGS)
