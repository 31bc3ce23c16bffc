import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS
from torch import nn

import fpn_necks  # noqa: F401
from tests.tiny_detectors import load_config


def build(type_: str = "BridgelessYOLOV3Head", **changes) -> nn.Module:
    torch.manual_seed(0)
    arguments = dict(num_classes=3, in_channels=[12, 10, 8], out_channels=[12, 10, 8])
    head = MODELS.build(dict(type=type_, **{**arguments, **changes}))
    head.init_weights()
    return head


def maps(sizes=((2, 3), (4, 6), (8, 12))) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(0)
    widths = (12, 10, 8)
    return tuple(
        torch.randn(2, width, *size, generator=random)
        for width, size in zip(widths, sizes, strict=True)
    )


def test_predictions_are_one_conv_of_the_maps() -> None:
    head = build()
    (predictions,) = head(maps())
    for conv, x, prediction in zip(head.convs_pred, maps(), predictions, strict=True):
        assert torch.equal(prediction, conv(x))
        assert prediction.shape[1] == 3 * (5 + 3)


def test_parameters_are_those_of_mmdet_without_bridges() -> None:
    ours, theirs = build().state_dict(), build("YOLOV3Head").state_dict()
    expected = {k: v.shape for k, v in theirs.items() if "bridge" not in k}
    assert {k: v.shape for k, v in ours.items()} == expected
    assert 0 < len(expected) < len(theirs)


def test_predictions_start_like_those_of_mmdet() -> None:
    """Objectness starts at 8 objects per map, classes at 0.01."""
    ours, theirs = build(), build("YOLOV3Head")
    for a, b in zip(ours.convs_pred, theirs.convs_pred, strict=True):
        assert torch.equal(a.bias.view(3, 8)[:, 4:], b.bias.view(3, 8)[:, 4:])
        assert a.weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_widths_must_be_equal() -> None:
    with pytest.raises(ValueError, match=r"in_channels and out_channels must be equal"):
        build(in_channels=[6, 5, 4])


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config("yolov3_d53_asff_4xb16-300e_coco")


def test_yolov3_with_asff_is_wired_as_released(config: Config) -> None:
    """Third input 128 -> 256, results 1024, 512, 256, and no convs behind them."""
    with torch.device("meta"):
        detector = MODELS.build(config.model)
    asff = detector.neck[1]
    assert [f.expand.conv.in_channels for f in asff.fusions] == [512, 256, 256]
    assert [f.expand.conv.out_channels for f in asff.fusions] == [1024, 512, 256]
    leads = [c for c in asff.lead_convs if not isinstance(c, nn.Identity)]
    assert len(leads) == 1 and leads[0].conv.weight.shape == (256, 128, 3, 3)
    # Coarsest first: levels 1 and 2 shrink, 2 after a pooling; equal widths, no conv.
    kinds = [
        [tuple(c.conv.weight.shape) if hasattr(c, "conv") else None for c in convs]
        for convs in (f.resizing.convs for f in asff.fusions)
    ]
    assert kinds == [
        [None, (512, 256, 3, 3), (512, 256, 3, 3)],
        [(256, 512, 1, 1), None, (256, 256, 3, 3)],
        [(256, 512, 1, 1), None, None],
    ]
    assert not list(detector.bbox_head.convs_bridge.parameters())


def test_schedule_is_that_of_the_paper(config: Config) -> None:
    """4 GPUs with 16 images, 300 epochs, 4 of warm-up, cosine from 1e-3 to 1e-5."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = OPTIMIZERS.build(dict(config.optim_wrapper.optimizer, params=[weight]))
    schedulers = []
    for settings in config.param_scheduler:
        settings = dict(settings, optimizer=optimizer)
        settings.pop("convert_to_iter_based", None)
        schedulers.append(PARAM_SCHEDULERS.build(settings))
    rates = []
    for _ in range(config.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert len(rates) == 300
    assert max(rates) == pytest.approx(1e-3) and rates.index(max(rates)) in (3, 4)
    assert rates == [*sorted(rates[:4]), *sorted(rates[4:], reverse=True)]
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)
    assert rates[152] == pytest.approx((1e-3 + 1e-5) / 2, rel=0.02)
