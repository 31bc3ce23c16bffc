"""The demo's path from end to end, with a set of a few images and two steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import demo
import pytest

from fpn_necks.coco_files import is_ignored
from fpn_necks.datasets.tiny_person import TileSettings, tile_coco
from fpn_necks.evaluation import evaluate_tiny_person

DEMO = Path(__file__).parents[2] / "tools" / "demo.py"
# Each image has four tiles, of which one step takes four.
SMALLEST = ["--train-images", "2", "--val-images", "1", "--epochs", "1"]
BUCKETS = ("tiny", "tiny1", "tiny2", "tiny3", "small")
# As in the demo's config.
TILES = TileSettings((320, 256), (48, 48), cut_boxes="ignore")


def run_demo(work_dir: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(DEMO), "--work-dir", str(work_dir), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        # Not in the clone: the demo must not depend on where it is started.
        cwd=work_dir.parent,
        # Processes that run side by side would wait for each other's threads.
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Work dir and output of a demo whose threshold is switched off."""
    work_dir = tmp_path_factory.mktemp("demo") / "work"
    done = run_demo(work_dir, *SMALLEST, "--pictures", "1", "--minimum-ap50", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    return work_dir, done.stdout


class TestDemo:
    def test_steps_outcome_and_files(self, passed: tuple[Path, str]) -> None:
        work_dir, output = passed
        assert all(f"[{step}/6]" in output for step in range(1, 7))
        assert output.count("done in") == 6
        for words in ("fusion factor", "untrained", "MR50", "demo: passed: AP50_tiny"):
            assert words in output
        pictures = {path.name: path for path in (work_dir / "pictures").iterdir()}
        assert set(pictures) == {
            "objects_per_level.png", "losses.png", "detections_1.png",
        }  # fmt: skip
        for path in pictures.values():
            assert path.read_bytes().startswith(b"\x89PNG")
        assert (work_dir / "training" / "epoch_1.pth").stat().st_size > 1e6
        detections = json.loads((work_dir / "test" / "merged.bbox.json").read_text())
        assert {"image_id", "bbox", "score", "category_id"} <= set(detections[0])

    def test_prints_the_benchmarks_numbers_of_the_written_detections(
        self, passed: tuple[Path, str]
    ) -> None:
        work_dir, output = passed
        truth = work_dir / "synthetic_tiny_person" / "annotations" / "val.json"
        found = work_dir / "test"
        on_tiles = (found / "detections.bbox.json", found / "tiles.json")
        expected = evaluate_tiny_person(truth, *on_tiles, leave_out_dense=True)
        merged = found / "merged.bbox.json"
        assert expected == evaluate_tiny_person(truth, merged, leave_out_dense=True)
        (log,) = (work_dir / "untrained").glob("*/*.json")
        untrained = json.loads(log.read_text())
        rows = [line.split() for line in output.splitlines()]
        for bucket in BUCKETS:
            (row,) = (row for row in rows if row[:1] == [bucket])
            assert row[-4:] == [
                "-" if value < 0 else f"{value:.3f}"
                for name in (f"AP50_{bucket}", f"MR50_{bucket}")
                for value in (untrained[f"tiny_person/{name}"], expected[name])
            ]
        assert f"passed: AP50_tiny {expected['AP50_tiny']:.3f}" in output

    def test_counts_and_trains_on_tiles(self, passed: tuple[Path, str]) -> None:
        work_dir, output = passed
        annotations = work_dir / "synthetic_tiny_person" / "annotations"
        whole = json.loads((annotations / "train.json").read_text())
        assert not any(image["in_dense_image"] for image in whole["images"])
        cut = tile_coco(whole, TILES)[0]
        people = [a["image_id"] for a in cut["annotations"] if not is_ignored(a)]
        assert len(people) < len(cut["annotations"])
        tiles = len(set(people))
        assert len(whole["images"]) < tiles <= len(cut["images"]) == 8
        assert f"{tiles} images, {len(people)} boxes" in output
        (log,) = (work_dir / "training").glob("*/*.log")
        assert f"[{-(-tiles // 4)}/{-(-tiles // 4)}]" in log.read_text()

    def test_trained_with_the_estimated_factors(self, passed: tuple[Path, str]) -> None:
        (log,) = (passed[0] / "training").glob("*/*.log")
        text = log.read_text()
        assert "fusion factors set from the training set" in text
        factors = [
            line.split("%")[1].split()[0]
            for line in passed[1].splitlines()
            if " into P" in line
        ]
        assert len(factors) == 3
        assert all(factor in text for factor in factors)

    @pytest.mark.parametrize(("reached", "status"), [(0.1, 0), (0.0999, 1)])
    def test_status_says_whether_the_threshold_was_reached(
        self, reached: float, status: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert demo.verdict(reached, 0.1) == status
        output = capsys.readouterr()
        assert ("FAILED" in output.err) == (status == 1)
        assert ("passed" in output.out) == (status == 0)

    def test_table_shows_a_dash_where_nobody_is_to_be_found(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        metrics = {f"{kind}50_{b}": 0.25 for kind in ("AP", "MR") for b in BUCKETS}
        demo.print_table(metrics, metrics | {"MR50_tiny1": -1.0})
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        (row,) = (row for row in rows if row[:1] == ["tiny1"])
        assert row[-4:] == ["0.250", "0.250", "0.250", "-"]

    def test_refuses_bad_arguments(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            demo.parse_arguments(["--train-images", "0"])
        assert "--train-images must be at least 1" in capsys.readouterr().err

    def test_says_that_only_dense_images_were_drawn(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        generate = demo.generate
        monkeypatch.setattr(
            demo, "generate", lambda *a, **kw: generate(*a, **kw, dense_fraction=1)
        )
        arguments = [*SMALLEST, "--work-dir", str(tmp_path)]
        assert demo.run(demo.parse_arguments(arguments), sys.stdout) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith("demo: all train images are dense")
