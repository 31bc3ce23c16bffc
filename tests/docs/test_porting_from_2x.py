"""docs/porting_from_2x.md: its neck runs, and its config trains."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import mmcv.cnn
import pytest
import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors.base import BaseDetector
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn

from fpn_necks.checkpoints import write_checkpoint
from fpn_necks.warm_start import load_fpn_detector
from tests.docs.code_blocks import modules_taken_back
from tests.tiny_detectors import make_tiny, train_and_test_a_step
from tests.tiny_sets import write_coco_set

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "porting_from_2x.md").read_text()
NEW_NECK, OLD_CONFIG, NEW_CONFIG = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
OLD = Config.fromstring(OLD_CONFIG, ".py")
WIDTHS = [8, 16, 24, 32]


@pytest.fixture
def new_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """Write the page's neck as a module, which its config imports."""
    register_all_modules()
    (tmp_path / "context_fpn.py").write_text(NEW_NECK)
    monkeypatch.syspath_prepend(tmp_path)
    with modules_taken_back({"context_fpn"}):
        yield importlib.import_module("context_fpn").ContextFPN


def test_neck_is_fpn_with_a_context(new_class: type) -> None:
    settings = dict(in_channels=WIDTHS, out_channels=16, num_outs=5)
    new, plain = new_class(**settings), MODELS.get("FPN")(**settings)
    plain.load_state_dict(new.state_dict(), strict=False)
    maps = [torch.rand(2, w, 49 // 2**i, 65 // 2**i) for i, w in enumerate(WIDTHS)]
    assert not torch.allclose(new(maps)[3], plain(maps)[3])
    nn.init.zeros_(new.context.conv.weight)
    for ours, theirs in zip(new(maps), plain(maps), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.fixture
def new_config(new_class: type, tmp_path: Path) -> Config:
    path = tmp_path / "my_config.py"
    path.write_text(NEW_CONFIG)
    return Config.fromfile(path)


def test_configs_say_the_same(new_config: Config) -> None:
    model, dataset = new_config.model, new_config.train_dataloader.dataset
    old_steps = {t["type"]: t for t in OLD.train_pipeline}
    steps = {t["type"]: t for t in dataset.pipeline}
    wrapper, hooks = new_config.optim_wrapper, new_config.default_hooks
    warm_up, steps_down = new_config.param_scheduler
    for ours, theirs in (
        (model.data_preprocessor.mean, OLD.img_norm_cfg.mean),
        (model.data_preprocessor.std, OLD.img_norm_cfg.std),
        (model.data_preprocessor.bgr_to_rgb, OLD.img_norm_cfg.to_rgb),
        (model.data_preprocessor.pad_size_divisor, old_steps["Pad"]["size_divisor"]),
        (model.backbone.init_cfg.checkpoint, OLD.model.pretrained),
        (model.neck.type, OLD.model.neck.type),
        (steps["Resize"]["scale"], old_steps["Resize"]["img_scale"]),
        (steps["RandomFlip"]["prob"], old_steps["RandomFlip"]["flip_ratio"]),
        (new_config.train_dataloader.batch_size, OLD.data.samples_per_gpu),
        (new_config.train_dataloader.num_workers, OLD.data.workers_per_gpu),
        (dataset.data_root + dataset.ann_file, OLD.data.train.ann_file),
        (dataset.data_root + dataset.data_prefix.img, OLD.data.train.img_prefix),
        (dataset.metainfo.classes, OLD.data.train.classes),
        (wrapper.optimizer, OLD.optimizer),
        (wrapper.clip_grad, OLD.optimizer_config.grad_clip),
        (wrapper.loss_scale, OLD.fp16.loss_scale),
        (new_config.train_cfg.max_epochs, OLD.runner.max_epochs),
        (new_config.train_cfg.val_interval, OLD.evaluation.interval),
        (hooks.checkpoint.interval, OLD.checkpoint_config.interval),
        (hooks.logger.interval, OLD.log_config.interval),
        # Warm-up from 0.001 of the rate over 500 iterations, a tenth at 8 and 11.
        (warm_up.start_factor, OLD.lr_config.warmup_ratio),
        ((warm_up.end, warm_up.by_epoch), (OLD.lr_config.warmup_iters, False)),
        (
            (steps_down.milestones, steps_down.get("gamma", 0.1)),
            (OLD.lr_config.step, 0.1),
        ),
    ):
        assert ours == theirs


def test_new_config_trains_and_old_checkpoint_loads(
    new_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco_set(tmp_path, empty_last=True)
    detector = train_and_test_a_step(make_tiny(new_config, tmp_path))
    # mmdet 2.x wrote the classes under another name, and the optimizer beside them.
    state = {key: value.clone() for key, value in detector.state_dict().items()}
    meta = dict(mmdet_version="2.28.2", CLASSES=("square", "disc"), epoch=12)
    old = dict(meta=meta, state_dict=state, optimizer=dict(state={}))
    monkeypatch.chdir(tmp_path)
    write_checkpoint(old, Path("old_detector.pth"))
    for parameter in detector.parameters():
        parameter.data.zero_()
    report = load_fpn_detector(detector, "old_detector.pth")
    assert not report.new and not report.mismatched and not report.left_over
    for key, value in detector.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize(
    "module", ["mmcv.runner", "mmdet.models.builder", "mmdet.core"]
)
def test_what_the_page_calls_gone_is_gone(module: str) -> None:
    assert module in PAGE
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


def test_what_the_page_names_exists() -> None:
    register_all_modules()
    for function, names in {
        BaseDetector.loss: ["batch_inputs", "batch_data_samples"],
        BaseDetector.predict: ["batch_inputs", "batch_data_samples"],
        SingleRoIExtractor.forward: ["feats", "rois", "roi_scale_factor"],
    }.items():
        assert list(inspect.signature(function).parameters)[1:] == names
    head = MODELS.get("RetinaHead")
    assert issubclass(head, BaseDenseHead)
    found = inspect.signature(head.loss_by_feat).parameters
    assert {"batch_gt_instances", "batch_img_metas"} <= set(found)
    assert hasattr(head, "predict_by_feat") and not hasattr(head, "get_bboxes")
    assert not hasattr(mmcv.cnn, "xavier_init")
    arguments = inspect.signature(MODELS.get("FPN").__init__).parameters
    assert "extra_convs_on_inputs" not in arguments
    assert hasattr(MODELS.get("FCOSHead")(2, 8), "conv_cls")
