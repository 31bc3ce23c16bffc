import copy
import json
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from fpn_necks.checkpoints import read_checkpoint
from fpn_necks.hooks import FusionFactorHook
from fpn_necks.statistics import estimate_from_config
from tests.distributed.processes import torchrun
from tests.tiny_detectors import detector_config
from tests.tiny_sets import write_coco_set


def run(folder: Path, **changes) -> Runner:
    config = detector_config("retinanet_r50_s-alpha-fpn_1x_coco", folder)
    config.work_dir = str(folder / "run")
    config.merge_from_dict(changes)
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def alpha(runner: Runner) -> list[float]:
    return runner.model.neck.fusion_factor.alpha.tolist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Runner]:
    folder = tmp_path_factory.mktemp("trained")
    write_coco_set(folder)
    return folder, run(folder)


def test_sets_the_estimate_and_keeps_it_in_the_checkpoint(
    trained: tuple[Path, Runner],
) -> None:
    folder, runner = trained
    expected = estimate_from_config(Config(runner.cfg.to_dict())).factors
    assert alpha(runner) == pytest.approx(expected)
    saved = read_checkpoint(folder / "run" / "epoch_1.pth")
    stored = saved["state_dict"]["neck.fusion_factor.alpha"]
    assert stored.tolist() == pytest.approx(expected)


def test_resume_keeps_and_load_from_counts_anew(
    trained: tuple[Path, Runner], tmp_path: Path
) -> None:
    first = alpha(trained[1])
    folder = shutil.copytree(trained[0], tmp_path / "copy")
    # Other annotations: larger images shift objects to higher levels.
    write_coco_set(folder, size=(192, 128), seed=5)
    resumed = run(folder, **{"resume": True, "train_cfg.max_epochs": 2})
    assert alpha(resumed) == pytest.approx(first)
    checkpoint = str(folder / "run" / "epoch_1.pth")
    fresh = run(folder, load_from=checkpoint, work_dir=str(folder / "other"))
    assert alpha(fresh) != pytest.approx(first)


def test_testing_does_not_count(
    trained: tuple[Path, Runner], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(
        "fpn_necks.hooks.fusion_factor_hook.estimate",
        lambda *_: pytest.fail("counted during a test"),
    )
    config = detector_config("retinanet_r50_s-alpha-fpn_1x_coco", trained[0])
    config.work_dir = str(tmp_path)
    config.load_from = str(trained[0] / "run" / "epoch_1.pth")
    runner = Runner.from_cfg(config)
    runner.test()
    assert alpha(runner) == pytest.approx(alpha(trained[1]))


def test_failure_says_why(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    factor = dict(type="StatisticFusionFactor", count="positives")
    changes = {"model.neck.fusion_factor": factor}
    config = detector_config("fcos_r50_s-alpha-fpn_gn-head_1x_coco", tmp_path)
    config.merge_from_dict({**changes, "work_dir": str(tmp_path / "run")})
    with pytest.raises(RuntimeError, match="cannot be counted.*needs an anchor-based"):
        Runner.from_cfg(config).train()


def test_warns_of_data_that_do_not_suit_the_method(tmp_path: Path) -> None:
    write_coco_set(tmp_path, size=(384, 256))
    assert alpha(run(tmp_path)) == pytest.approx([0.2, 0.2]), "clamped"
    log = next((tmp_path / "run").rglob("*.log")).read_text()
    assert "WARNING - the training set gives the fusion factors" in log
    assert "clamped to [0.2, 2]" in log


def test_student_and_teacher_of_a_semi_supervised_detector(tmp_path: Path) -> None:
    """Both necks get α, counted on the labelled images alone."""
    write_coco_set(tmp_path)
    config = detector_config("faster-rcnn_r50_s-alpha-fpn_1x_coco", tmp_path)
    expected = estimate_from_config(config)
    detector = config.model
    preprocessor = detector.data_preprocessor
    config.model = dict(
        type="SoftTeacher",
        detector=detector,
        data_preprocessor=dict(
            type="MultiBranchDataPreprocessor", data_preprocessor=preprocessor
        ),
        semi_train_cfg=dict(freeze_teacher=True),
        semi_test_cfg=dict(predict_on="teacher"),
    )
    branches = dict(type="MultiBranch", branch_field=["sup", "unsup_teacher"])
    labelled = config.train_dataloader.dataset
    *steps, pack = labelled.pipeline
    unlabelled = copy.deepcopy(labelled)
    load = [dict(type="LoadImageFromFile"), dict(type="LoadEmptyAnnotations")]
    unlabelled.pipeline = [*load, dict(**branches, unsup_teacher=[pack])]
    labelled.pipeline = [*steps, dict(**branches, sup=[pack])]
    sets = [labelled, unlabelled]
    config.train_dataloader.dataset = dict(type="ConcatDataset", datasets=sets)
    report = estimate_from_config(config)
    assert (report.counts, report.factors) == (expected.counts, expected.factors)
    assert "data without labels (semi-supervised) is left out" in report.notes
    config.work_dir = str(tmp_path / "run")
    runner = Runner.from_cfg(config)
    FusionFactorHook().before_train(runner)
    for part in (runner.model.student, runner.model.teacher):
        found = part.neck.fusion_factor.alpha.tolist()
        assert found == pytest.approx(expected.factors)


WORKER = """
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch.distributed
from mmengine.runner import Runner

import fpn_necks.hooks.fusion_factor_hook as hook
from tests.distributed.processes import leave_group
from tests.tiny_detectors import detector_config

# mmengine's own start wants a GPU wherever torch was built with CUDA.
torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=20))
rank = torch.distributed.get_rank()
folder = Path(sys.argv[1])
config = detector_config("retinanet_r50_s-alpha-fpn_1x_coco", folder)
config.merge_from_dict(
    dict(
        launcher="pytorch",
        model_wrapper_cfg=dict(type="MMDistributedDataParallel", device_ids=None),
        work_dir=str(folder / "run"),
    )
)
config.custom_hooks.append(dict(type="NeckVisualizationHook", interval=1))
config.visualizer.vis_backends = [dict(type="LocalVisBackend")]
plain = hook.estimate


def estimate(*arguments):
    if sys.argv[2] == "slow":
        time.sleep(25)  # longer than any process may wait for another
    elif sys.argv[2] == "broken" and rank == 1:
        raise ValueError("no luck")
    report = plain(*arguments)
    if sys.argv[2] == "different" and rank == 1:
        report.factors[0] += 0.1
    return report


hook.estimate = estimate
runner = Runner.from_cfg(config)
try:
    runner.train()
except RuntimeError as error:
    result = f"FAILED {error}"
else:
    result = f"ALPHA {runner.model.module.neck.fusion_factor.alpha.tolist()}"
(folder / f"rank{rank}.txt").write_text(result)
leave_group()
"""


FAILED = "FAILED the fusion factors cannot be counted: "


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param("slow", "ALPHA [", marks=pytest.mark.long),
        pytest.param("broken", f"{FAILED}ValueError: no luck", marks=pytest.mark.long),
        ("different", f"{FAILED}the processes see different training sets"),
    ],
)
def test_two_processes_get_the_same(tmp_path: Path, kind: str, expected: str) -> None:
    write_coco_set(tmp_path)
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    torchrun(2, script, tmp_path, kind)
    words = [(tmp_path / f"rank{rank}.txt").read_text() for rank in range(2)]
    assert words[0] == words[1]
    assert words[0].startswith(expected)
    if kind == "slow":  # one of the two wrote the α of its one iteration
        lines = [
            json.loads(line)
            for file in (tmp_path / "run").glob("*/vis_data/scalars.json")
            for line in file.read_text().splitlines()
        ]
        (record,) = (x for x in lines if "alpha/neck.fusion_factor.0" in x)
        written = [record[f"alpha/neck.fusion_factor.{i}"] for i in (0, 1)]
        assert written == pytest.approx(json.loads(words[0].removeprefix("ALPHA ")))
