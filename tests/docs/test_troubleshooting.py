"""docs/troubleshooting.md: its error messages are produced and compared."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmdet.utils import register_all_modules
from torch import nn

from fpn_necks.cli import main
from fpn_necks.necks import DRFPN, SAlphaFPN
from fpn_necks.shipped_configs import config_path
from tests.tiny_detectors import load_config, shrink

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
ENTRIES = dict(
    re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
)
WIDTHS = [8, 16, 32]


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register_all_modules()


def plain(text: str) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())


def error_of(call: Callable[[], object]) -> str:
    """Return an error as Python prints it."""
    with pytest.raises(Exception) as caught:
        call()
    kind = type(caught.value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__name__}: {caught.value}"


def check_quotes(heading: str, *messages: str) -> None:
    """Compare messages with those below a heading; ``...`` is for anything."""
    shown = re.findall(r"```text\n(.*?)\n```", ENTRIES[heading], re.DOTALL)
    for message, text in zip(messages, shown, strict=True):
        parts = [re.escape(plain(part)) for part in text.split("...") if plain(part)]
        assert re.search(".*".join(parts), plain(message)), (message, text)


def maps(batch: int = 1, rows: int = 32) -> list[torch.Tensor]:
    return [
        torch.rand(batch, width, -(-rows // 2**i), 32 // 2**i)
        for i, width in enumerate(WIDTHS)
    ]


def neck(kind: type[nn.Module] = SAlphaFPN, **changes) -> nn.Module:
    own = dict(fusion_factor=1.0) if kind is SAlphaFPN else {}
    return kind(**dict(in_channels=WIDTHS, out_channels=8, num_outs=3) | own | changes)


def test_maps_and_levels(capsys: pytest.CaptureFixture) -> None:
    check_quotes(
        "Wrong number or width of maps",
        error_of(lambda: neck(in_channels=[8, 16, 32, 64], num_outs=4)(maps())),
        error_of(lambda: neck(in_channels=[8, 16, 64])(maps())),
    )
    config = shrink(load_config("retinanet_r50_s-alpha-fpn_1x_coco"), 2)
    config.model.neck.update(num_outs=4, fusion_factor=1.0)
    detector = MODELS.build(config.model)
    scores, boxes = detector(torch.rand(1, 3, 64, 96), mode="tensor")
    metas = [dict(img_shape=(64, 96), batch_input_shape=(64, 96))]
    head = detector.bbox_head
    check_quotes(
        "Wrong number of levels",
        error_of(lambda: neck(in_channels=[8, 16, 32, 64])(maps())),
        error_of(lambda: head.predict_by_feat(scores, boxes, batch_img_metas=metas)),
    )
    path = str(config_path("retinanet_r50_s-alpha-fpn_1x_coco"))
    assert main(["check", path, "--cfg-options", "model.neck.start_level=0"]) == 1
    check_quotes("Wrong strides: no error, and no AP", capsys.readouterr().out)
    settings = dict(upsample_cfg=dict(scale_factor=2))
    message = error_of(lambda: neck(MODELS.get("FPN"), **settings)(maps(rows=50)))
    check_quotes("Sizes that are no multiple of 32", message)
    assert len(neck(**settings)(maps(rows=50))) == 3


def test_fusion_factors_and_single_images() -> None:
    message = error_of(lambda: neck(fusion_factor=[0.1]))
    check_quotes("Wrong number of fusion factors", message)
    statistic = neck(fusion_factor="statistic")
    message = error_of(lambda: statistic(maps()))
    check_quotes("The fusion factor is not set", message)
    loader = SimpleNamespace(dataset=[])
    runner = SimpleNamespace(model=statistic, _resume=False, train_dataloader=loader)
    hook = HOOKS.build(dict(type="FusionFactorHook"))
    message = error_of(lambda: hook.before_train(runner))
    check_quotes("The fusion factors cannot be counted", message)
    message = error_of(lambda: neck(DRFPN)(maps()))
    check_quotes("One image per GPU with DRFPN", message)
    group_norm = dict(norm_cfg=dict(type="GN", num_groups=32))
    assert len(neck(DRFPN, out_channels=64, crb=group_norm)(maps())) == 3
