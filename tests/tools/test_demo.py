"""The demo's path from end to end, with a set of a few images and two steps."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

DEMO = Path(__file__).parents[2] / "tools" / "demo.py"
SMALLEST = ["--train-images", "8", "--val-images", "4", "--epochs", "1"]


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


def load_demo() -> ModuleType:
    specification = importlib.util.spec_from_file_location("demo", DEMO)
    module = importlib.util.module_from_spec(specification)
    # Dataclasses look their module up by name.
    sys.modules["demo"] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Work dir and output of a demo whose threshold is switched off."""
    work_dir = tmp_path_factory.mktemp("demo") / "work"
    done = run_demo(work_dir, *SMALLEST, "--pictures", "1", "--minimum-ap50", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    return work_dir, done.stdout


class TestDemo:
    def test_announces_all_steps_and_the_outcome(
        self, passed: tuple[Path, str]
    ) -> None:
        output = passed[1]
        for step in range(1, 7):
            assert f"[{step}/6]" in output
        assert output.count("done in") == 6
        for words in ("fusion factor", "untrained", "AP50", "demo: passed"):
            assert words in output

    def test_writes_pictures_checkpoint_and_detections(
        self, passed: tuple[Path, str]
    ) -> None:
        work_dir = passed[0]
        names = {path.name for path in (work_dir / "pictures").iterdir()}
        assert names == {"objects_per_level.png", "losses.png", "detections_1.png"}
        for path in (work_dir / "pictures").iterdir():
            assert path.read_bytes().startswith(b"\x89PNG")
        assert (work_dir / "training" / "epoch_1.pth").stat().st_size > 1e6
        detections = json.loads(
            (work_dir / "test" / "detections.bbox.json").read_text()
        )
        assert {"image_id", "bbox", "score", "category_id"} <= set(detections[0])

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

    @pytest.mark.parametrize(
        ("reached", "minimum", "status"),
        [(0.0, 0.0, 0), (0.1, 0.1, 0), (0.0999, 0.1, 1), (0.0, 0.1, 1)],
    )
    def test_status_says_whether_the_threshold_was_reached(
        self,
        reached: float,
        minimum: float,
        status: int,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert load_demo().judge(reached, minimum) == status
        output = capsys.readouterr()
        assert ("FAILED" in output.err) == (status == 1)
        assert ("passed" in output.out) == (status == 0)

    def test_gain_over_nothing_is_a_bound(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        load_demo().print_table({}, {"coco/bbox_mAP_50": 0.5, "coco/bbox_mAP_s": -1.0})
        output = capsys.readouterr().out
        assert "at least 1000 times" in output
        assert "-1" not in output

    def test_refuses_bad_arguments(self, tmp_path: Path) -> None:
        done = run_demo(tmp_path / "work", "--train-images", "0")
        assert done.returncode == 2
        assert "--train-images must be at least 1" in done.stderr
        assert not (tmp_path / "work").exists()
