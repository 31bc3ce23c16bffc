"""docs/troubleshooting.md: its error messages are produced and compared."""

import importlib
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS, HOOKS, MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.model import MMDistributedDataParallel
from torch import nn

from fpn_necks.__main__ import main
from fpn_necks.checkpoints import allow_checkpoint_types, read_checkpoint
from fpn_necks.doctor import diagnose, remedy_for_error
from fpn_necks.necks import DRFPN, SAlphaFPN
from fpn_necks.shipped_configs import config_path
from tests.stack import IS_FORK
from tests.tiny_detectors import load_config, shrink
from tests.tiny_sets import write_coco_set

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
ENTRIES = dict(
    re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
)
WIDTHS = [8, 16, 32]
# What needs another installation or a GPU; the doctor is asked instead, if
# they know it.
ONLY_QUOTED = {"GPU memory is not enough", "torchrun starts again and hangs"}
TESTED: set[str] = set()


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register_all_modules()


def quoted(heading: str) -> list[str]:
    """Return the messages below a heading of the page."""
    TESTED.add(heading)
    return re.findall(r"```text\n(.*?)\n```", ENTRIES[heading], re.DOTALL)


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def holds(message: str, shown: str) -> bool:
    """Whether a message has the parts that the page shows, in their order."""
    parts = [re.escape(plain(part)) for part in shown.split("...") if plain(part)]
    return re.search(".*".join(parts), plain(message), re.DOTALL) is not None


def error_of(call: Callable[[], object]) -> str:
    """Return an error as Python prints it."""
    with pytest.raises(Exception) as caught:
        call()
    kind = type(caught.value)
    name = kind.__name__ if kind.__module__ == "builtins" else None
    return f"{name or f'{kind.__module__}.{kind.__name__}'}: {caught.value}"


def maps(batch: int = 1, rows: int = 32) -> list[torch.Tensor]:
    return [
        torch.rand(batch, width, -(-rows // 2**i), 32 // 2**i)
        for i, width in enumerate(WIDTHS)
    ]


def neck(kind: type[nn.Module] = SAlphaFPN, **changes) -> nn.Module:
    own = dict(fusion_factor=1.0) if kind is SAlphaFPN else {}
    shared = dict(in_channels=WIDTHS, out_channels=8, num_outs=3)
    return kind(**shared | own | changes)


def check_quotes(heading: str, *messages: str) -> None:
    shown = quoted(heading)
    assert len(shown) == len(messages), heading
    for message, part in zip(messages, shown, strict=True):
        assert holds(message, part), f"{message}\n--- the page shows\n{part}"


@pytest.mark.skipif(IS_FORK, reason="the fork's messages are its own")
def test_mmcv_without_ops_or_too_new() -> None:
    """Both in one process of its own, which has never imported mmcv."""
    script = """
import sys, traceback

class Absent:
    def find_spec(self, name, *_):
        if name == "mmcv._ext":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

def attempt(name):
    try:
        __import__(name)
    except Exception as error:
        print("@@" + traceback.format_exception_only(error)[-1])

import mmcv
attempt("mmcv.ops")
mmcv.__version__ = "2.2.0"
attempt("mmdet")
attempt("fpn_necks")
"""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    no_ops, too_new, ours = result.stdout.split("@@")[1:]
    check_quotes("mmcv has no compiled ops", no_ops)
    check_quotes("mmcv is too new for mmdet", too_new, ours)
    (found,) = diagnose({"mmcv_ops": {"error": no_ops}})
    assert found.level == "fault" and "mmcv-lite" in found.remedy
    assert "mmcv 2.1.0" in remedy_for_error(too_new)


def test_torch_too_new() -> None:
    facts = {"mmcv_ops": {"error": "No module"}, "torch": {"version": "2.14.0"}}
    found = diagnose(facts)[-1]
    check_quotes("mmcv does not compile", found.remedy)
    setup = (ROOT / "tools/setup.sh").read_text()
    assert "mmcv 2.1.0 does not compile from 2.14 on" in setup


def test_other_faults_of_installations(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page advises is what the doctor advises."""
    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    message = error_of(lambda: importlib.import_module("pkg_resources"))
    assert "pkg_resources" in message
    heading = "pkg_resources is missing"
    assert "'pkg_resources'" in quoted(heading)[0]
    (found,) = diagnose({"build_tools": {"pkg_resources": False}})
    for advice in ("setuptools<81", "--no-build-isolation"):
        assert advice in found.remedy and advice in ENTRIES[heading]

    heading = "torchvision of another torch"
    (error,) = quoted(heading)
    (found,) = diagnose({"torchvision_nms": {"error": error}})
    for advice in ("in one pip command", "2.11.0", "0.26.0"):
        assert advice in found.remedy and advice in ENTRIES[heading]

    heading = "numpy 2 beside an old torch"
    (error,) = quoted(heading)
    (found,) = diagnose({"torch_numpy": {"error": error}})
    assert "numpy<2" in found.remedy and "before 2.3" in found.remedy
    assert "numpy<2" in remedy_for_error(error) and "numpy<2" in ENTRIES[heading]
    assert "NUMPY_VERSION" in (ROOT / "tools/setup.sh").read_text()

    heading = "opencv lacks a graphics library"
    (error,) = quoted(heading)
    assert "opencv-python-headless" in remedy_for_error(error)
    assert "opencv-python-headless" in ENTRIES[heading]


def test_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    heading = "A neck is not in the registry"
    config = dict(type="SAlphaFPN", in_channels=WIDTHS, out_channels=8, num_outs=3)
    config["fusion_factor"] = 1.0
    with monkeypatch.context() as patch:
        patch.delitem(MODELS.module_dict, "SAlphaFPN")
        check_quotes(heading, error_of(lambda: MODELS.build(config)))
        patch.delitem(HOOKS.module_dict, "FusionFactorHook")
        message = error_of(lambda: HOOKS.build(dict(type="FusionFactorHook")))
        assert "mmdet::hook registry" in message and "mmdet::hook" in ENTRIES[heading]
    assert MODELS.build(config)


def test_custom_imports_and_base(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(
        'custom_imports = dict(imports=["my_necks"], allow_failed_imports=False)\n'
    )
    message = error_of(lambda: Config.fromfile(path))
    check_quotes("A module of custom_imports is not found", message)
    path.write_text('_base_ = "fpn_necks::s_alpha_fpn/any.py"\n')
    check_quotes("A config of ours as base", error_of(lambda: Config.fromfile(path)))
    base = config_path("retinanet_r50_s-alpha-fpn_1x_coco")
    path.write_text(f"_base_ = {str(base)!r}\n")
    assert Config.fromfile(path).model.neck.type == "SAlphaFPN"


def test_maps_and_levels(capsys: pytest.CaptureFixture) -> None:
    check_quotes(
        "Wrong number or width of maps",
        error_of(lambda: neck(in_channels=[8, 16, 32, 64], num_outs=4)(maps())),
        error_of(lambda: neck(in_channels=[8, 16, 64])(maps())),
    )
    config = shrink(load_config("retinanet_r50_s-alpha-fpn_1x_coco"), 2)
    config.model.neck.update(num_outs=4, fusion_factor=1.0)
    detector = MODELS.build(config.model)
    images = torch.rand(1, 3, 64, 96)
    metas = [dict(img_shape=(64, 96), batch_input_shape=(64, 96))]
    head = detector.bbox_head

    def predict() -> object:
        scores, boxes = head(detector.extract_feat(images))
        return head.predict_by_feat(scores, boxes, batch_img_metas=metas)

    check_quotes(
        "Wrong number of levels",
        error_of(lambda: neck(in_channels=[8, 16, 32, 64])(maps())),
        error_of(predict),
    )
    heading = "Wrong strides: no error, and no AP"
    path = str(config_path("retinanet_r50_s-alpha-fpn_1x_coco"))
    assert main(["check", path, "--cfg-options", "model.neck.start_level=0"]) == 1
    check_quotes(heading, capsys.readouterr().out)


def test_sizes() -> None:
    settings = dict(upsample_cfg=dict(scale_factor=2))
    plain_fpn = neck(MODELS.get("FPN"), **settings)
    message = error_of(lambda: plain_fpn(maps(rows=50)))
    check_quotes("Sizes that are no multiple of 32", message)
    assert len(neck(**settings)(maps(rows=50))) == 3


def test_fusion_factors() -> None:
    heading = "Wrong number of fusion factors"
    check_quotes(heading, error_of(lambda: neck(fusion_factor=[0.1])))
    assert neck(fusion_factor=0.1) and neck(fusion_factor=[0.1, 0.2])
    statistic = neck(fusion_factor="statistic")
    message = error_of(lambda: statistic(maps()))
    check_quotes("The fusion factor is not set", message)
    runner = SimpleNamespace(
        model=statistic, _resume=False, train_dataloader=SimpleNamespace(dataset=[])
    )
    hook = HOOKS.build(dict(type="FusionFactorHook"))
    message = error_of(lambda: hook.before_train(runner))
    check_quotes("The fusion factors cannot be counted", message)
    assert plain(message) != "RuntimeError: the fusion factors cannot be counted:"
    statistic.fusion_factor.set([0.4, 0.3])
    assert len(statistic(maps())) == 3


def test_one_image_with_drfpn() -> None:
    heading = "One image per GPU with DRFPN"
    check_quotes(heading, error_of(lambda: neck(DRFPN)(maps())))
    crb = "model.neck.crb.norm_cfg"
    assert f"--cfg-options {crb}.type=GN {crb}.num_groups=32" in ENTRIES[heading]
    group_norm = dict(type="GN", num_groups=32)
    wide = neck(DRFPN, out_channels=64, crb=dict(norm_cfg=group_norm))
    assert len(wide(maps())) == 3
    assert len(neck(DRFPN)(maps(batch=2))) == 3


def test_infinite_loss(caplog: pytest.LogCaptureFixture) -> None:
    heading = "The loss becomes NaN"
    logger = logging.getLogger("test_infinite_loss")
    runner = SimpleNamespace(iter=49, logger=logger)
    (settings,) = re.findall(r"```python\n(.*?)```", ENTRIES[heading], re.DOTALL)
    (hook,) = Config.fromstring(settings, ".py").custom_hooks
    with caplog.at_level(logging.INFO, logger=logger.name):
        outputs = dict(loss=torch.tensor(float("nan")))
        with pytest.raises(AssertionError):
            HOOKS.build(hook).after_train_iter(runner, 49, outputs=outputs)
    check_quotes(heading, caplog.text)
    # The options of the remedies are those of the configs.
    config = load_config("faster-rcnn_r50_drfpn_3xb8-1x_coco")
    assert config.optim_wrapper.optimizer.lr == 0.03
    assert config.auto_scale_lr.base_batch_size == 24
    assert config.param_scheduler[0].end == 500
    config.merge_from_dict(
        {"param_scheduler.0.end": 1000, "optim_wrapper.clip_grad.max_norm": 35}
    )
    assert config.optim_wrapper.clip_grad == dict(max_norm=35)
    for name in re.findall(r"cfg-options ([\w.]+)=", ENTRIES[heading]):
        assert name in ("param_scheduler.0.end", "optim_wrapper.clip_grad.max_norm")


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    path = write_coco_set(tmp_path, images=False)
    settings = dict(
        type="CocoDataset",
        ann_file=str(path),
        data_prefix=dict(img=""),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[],
    )
    wrong = dict(settings, metainfo=dict(classes=("person",)))
    check_quotes("No annotation is left", error_of(lambda: DATASETS.build(wrong)))
    right = dict(settings, metainfo=dict(classes=("square", "disc")))
    assert len(DATASETS.build(right)) == 4


@pytest.fixture
def one_process() -> Iterator[None]:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_unused_parameter(one_process: None) -> None:
    unused = neck()
    unused.unused = nn.Parameter(torch.zeros(1))

    def train(model: nn.Module, **settings) -> None:
        wrapped = MMDistributedDataParallel(model, **settings)
        for _ in range(2):
            sum(output.sum() for output in wrapped(maps())).backward()

    heading = "Parameters without gradient in distributed training"
    check_quotes(heading, error_of(lambda: train(unused)))
    train(unused, find_unused_parameters=True)
    train(neck(fusion_factor="learnable"))
    for path in (ROOT / "configs").rglob("*.py"):
        assert "find_unused_parameters" not in path.read_text(), path


class Calls:
    """An object whose unpickling calls a function."""

    def __reduce__(self):
        return os.system, ("true",)


def test_safe_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(torch.serialization, "clear_safe_globals"):
        pytest.skip("this torch does not load safely unless asked to")
    monkeypatch.chdir(tmp_path)
    history = dict(scalar=HistoryBuffer([1.0], [1]))
    torch.save(dict(state_dict={}, message_hub=history), "history.pth")
    torch.save(dict(state_dict={}, more=Calls()), "bad.pth")
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        refused = error_of(lambda: torch.load("history.pth", weights_only=True))
        allow_checkpoint_types()
        assert torch.load("history.pth", weights_only=True)["state_dict"] == {}
        bad = error_of(lambda: read_checkpoint(Path("bad.pth")))
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)
    check_quotes("Weights only load failed", refused, bad)


def test_empty_results(tmp_path: Path) -> None:
    metric = CocoMetric(ann_file=str(write_coco_set(tmp_path, images=False)))
    metric.dataset_meta = dict(classes=("square", "disc"))
    nothing = dict(
        bboxes=torch.zeros(0, 4),
        scores=torch.zeros(0),
        labels=torch.zeros(0, dtype=torch.long),
    )
    for number in range(1, 5):
        sample = dict(img_id=number, ori_shape=(64, 96), pred_instances=nothing)
        metric.process({}, [sample])
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        assert metric.evaluate(4) == {}
    finally:
        logger.removeHandler(handler)
    check_quotes("The results are empty", "\n".join(records))
    config = load_config("retinanet_r50_s-alpha-fpn_1x_coco")
    assert config.model.test_cfg.score_thr == 0.05


def test_quotes_of_gpus_are_marked() -> None:
    """An error that no test produces must be listed above."""
    with_messages = {name for name, text in ENTRIES.items() if "```text" in text}
    source = Path(__file__).read_text()
    named = {name for name in with_messages if f'"{name}"' in source}
    assert named == with_messages
    assert ONLY_QUOTED < with_messages
    assert "with_cp" in str(MODELS.get("ResNet").__init__.__code__.co_varnames)
