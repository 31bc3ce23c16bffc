from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

import fpn_necks.necks  # noqa: F401
from fpn_necks.auxiliary import SupervisedLevel, find_levels
from fpn_necks.auxiliary.features import record_features
from tests.auxiliary.cases import hooks_of
from tests.neck_cases import CASES, IN_CHANNELS, NeckCase, backbone_maps

WIDTHS = [8, 16, 32, 64]
IMAGE = (64, 96)  # (height, width) in pixels
RESNET = dict(type="ResNet", depth=18, base_channels=8)
FPN = dict(type="FPN", in_channels=WIDTHS, out_channels=12, num_outs=5)


class Detector(nn.Module):
    """A backbone and perhaps a neck, as mmdet's detectors have them."""

    def __init__(self, backbone: Any, neck: Any = None) -> None:
        super().__init__()
        self.backbone = backbone
        if neck is not None:
            self.neck = MODELS.build(neck)

    def forward(self, x: Any) -> Any:
        x = self.backbone(x)
        return self.neck(x) if hasattr(self, "neck") else x


class MadeUpBackbone(nn.Module):
    """Returns the given maps; the widths are known to the neck alone."""

    def __init__(self, *out_indices: int) -> None:
        super().__init__()
        self.out_indices = out_indices

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return maps


def resnet(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(RESNET | changes)


def record(
    detector: nn.Module, levels: Any, x: Any = None, first_level: int | None = None
) -> tuple[Any, Any, Any]:
    """Return the levels found, the maps recorded and the outputs."""
    found = find_levels(detector, levels, first_level=first_level)
    with record_features(detector, found) as features:
        outputs = detector(torch.rand(2, 3, *IMAGE) if x is None else x)
    return found, features, outputs


def check_shapes(found: tuple[SupervisedLevel, ...], features: Any) -> None:
    assert list(features) and set(features) == {level.name for level in found}
    for level in found:
        assert level.stride == 2 ** int(level.name[1:])
        size = tuple(-(-side // level.stride) for side in IMAGE)
        assert tuple(features[level.name].shape) == (2, level.channels, *size)


def test_backbone_outputs_and_laterals_of_a_resnet_with_fpn() -> None:
    detector = Detector(resnet(), FPN).eval()
    names = ["m2", "c2", "c5", "m5", "c3"]
    image = torch.rand(2, 3, *IMAGE)
    found, features, _ = record(detector, names, image)
    assert [level.name for level in found] == names
    assert found[1] == SupervisedLevel("c2", "backbone", 0, 8, 4)
    assert found[3] == SupervisedLevel("m5", "neck.lateral_convs.3", None, 12, 32)
    assert [level.is_lateral for level in found] == [True, False, False, True, False]
    check_shapes(found, features)
    maps = detector.backbone(image)
    for name in ("c2", "c3", "c5"):
        assert torch.equal(features[name], maps[int(name[1:]) - 2])
    for name in ("m2", "m5"):
        i = int(name[1:]) - 2
        assert torch.equal(features[name], detector.neck.lateral_convs[i](maps[i]))


def test_laterals_that_are_changed_in_place() -> None:
    def change(_conv: nn.Module, inputs: tuple[Tensor]) -> None:
        inputs[0].add_(1)  # FPN gives its output conv the coarsest lateral itself

    detector = Detector(resnet(), FPN).eval()
    detector.neck.fpn_convs[3].register_forward_pre_hook(change)
    record(detector, ["m2"])
    with pytest.raises(RuntimeError, match="neck changed its lateral m5 in place"):
        record(detector, "laterals")


@pytest.mark.parametrize("stages", [-1, 0, 1, 2])
def test_levels_of_frozen_stages(stages: int) -> None:
    for indices in ((0, 1, 2, 3), (1, 3)):
        detector = Detector(resnet(frozen_stages=stages, out_indices=indices))
        for i, level in enumerate(find_levels(detector, ["c2", "c3", "c4", "c5"])):
            weights = getattr(detector.backbone, f"layer{i + 1}").parameters()
            assert level.is_frozen == (not any(w.requires_grad for w in weights))


PYRAMID_CASES = [
    case
    for case in CASES
    if case.name.endswith(("pn", "cfg", "s-alpha", "retinanet", "retinanet-rank"))
]


@pytest.mark.parametrize("case", PYRAMID_CASES, ids=lambda case: case.name)
def test_laterals_of_every_neck(case: NeckCase) -> None:
    """Names, widths and strides; the maps are those that lateral_convs return."""
    detector = Detector(MadeUpBackbone(0, 1, 2, 3), case.config()).eval()
    neck = detector.neck
    maps = backbone_maps((32, 48))
    used = neck.levels.select(maps)
    with torch.no_grad():
        found, features, _ = record(detector, "laterals", maps)
        expected = neck.lateral_convs(list(used))
    first = neck.start_level + 2
    assert [level.name for level in found] == [
        f"m{first + i}" for i in range(len(used))
    ]
    for level, x in zip(found, expected, strict=True):
        assert level.channels == x.shape[1] and level.stride == 2 ** int(level.name[1])
        torch.testing.assert_close(features[level.name], x)
    # Backbone outputs get their widths from the neck.
    names = ["c2", "c3", "c4", "c5"]
    assert [c.channels for c in find_levels(detector, names)] == IN_CHANNELS


def test_laterals_of_the_first_neck_of_a_list() -> None:
    neck = [FPN, dict(type="ASFF", in_channels=12, out_channels=12)]
    found, features, _ = record(Detector(resnet(), neck).eval(), "laterals")
    assert [level.module for level in found] == [
        f"neck.0.lateral_convs.{i}" for i in range(4)
    ]
    check_shapes(found, features)
    neck = [dict(type="ChannelMapper", in_channels=WIDTHS, out_channels=8)]
    neck += [FPN | dict(in_channels=[8] * 4)]
    detector = Detector(resnet(), neck)
    assert find_levels(detector, ["m3"])[0].module == "neck.1.lateral_convs.1"
    assert find_levels(detector, ["c4"])[0].channels == WIDTHS[2]


DC5 = RESNET | dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(3,))
THREE = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
SWIN = dict(type="SwinTransformer", embed_dims=8, depths=(1,) * 4, window_size=2)
SWIN |= dict(num_heads=(1,) * 4)
DARKNET = dict(type="CSPDarknet", widen_factor=0.125)


# A backbone, and the width of each level.
BACKBONES = {
    "resnet-18": (RESNET | dict(out_indices=(1, 3)), dict(c2=8, c3=16, c4=32, c5=64)),
    "resnet-50": (RESNET | dict(depth=50), dict(c2=32, c3=64, c4=128, c5=256)),
    "resnet-dc5": (DC5, dict(c2=8, c3=16, c4=32)),
    "three-stages": (RESNET | THREE, dict(c2=8, c4=32)),
    # Its widths do not double.
    "regnet": (
        dict(type="RegNet", arch="regnetx_400mf", out_indices=(3,)),
        dict(c2=32, c3=64, c4=160, c5=384),
    ),
    "swin": (SWIN, dict(c2=8, c3=16, c4=32, c5=64, m2=12, m3=12, m4=12, m5=12)),
    # Its stages are counted from another stride than a ResNet's.
    "darknet": (DARKNET, dict(c3=32, c4=64, c5=128, m3=12, m4=12, m5=12)),
    "darknet-from-m4": (DARKNET, dict(c3=32, c4=64, c5=128, m4=12, m5=12)),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_levels_of_backbones(name: str) -> None:
    backbone, widths = BACKBONES[name]
    neck = None
    if backbone["type"] in ("SwinTransformer", "CSPDarknet"):  # the neck tells widths
        inputs = [width for level, width in widths.items() if level[0] == "c"]
        laterals = len(widths) - len(inputs) or len(inputs)
        neck = FPN | dict(in_channels=inputs, num_outs=laterals)
        neck |= dict(start_level=len(inputs) - laterals)
    detector = Detector(MODELS.build(backbone), neck).eval()
    first_level = 3 if backbone is DARKNET else None
    found, features, outputs = record(detector, list(widths), first_level=first_level)
    assert {level.name: level.channels for level in found} == widths
    check_shapes(found, features)
    if name == "resnet-dc5":  # which does not return what is supervised
        assert torch.equal(detector.backbone.layer4(features["c4"]), outputs[0])


def test_a_backbone_without_out_indices() -> None:
    """HRNet has none; it returns every stage, and its neck knows the widths."""
    backbone = MadeUpBackbone()
    del backbone.out_indices
    detector = Detector(
        backbone, dict(type="HRFPN", in_channels=[4, 8], out_channels=8)
    )
    found = find_levels(detector, ["c2", "c3"])
    assert [(level.channels, level.stride) for level in found] == [(4, 4), (8, 8)]
    with pytest.raises(ValueError, match="levels='laterals'.*the detector has none"):
        find_levels(detector, "laterals")


def test_a_width_that_nothing_tells() -> None:
    detector = Detector(MadeUpBackbone(1, 2))
    with pytest.raises(ValueError, match="width of c3 is not known; give in_channels"):
        find_levels(detector, ["c3"])
    found = find_levels(detector, ["c4", "c3"], in_channels=[5, 7])
    assert found == (
        SupervisedLevel("c4", "backbone", 1, 5, 16),
        SupervisedLevel("c3", "backbone", 0, 7, 8),
    )
    with pytest.raises(ValueError, match="in_channels must have 2 entries"):
        find_levels(detector, ["c3", "c4"], in_channels=[5])


def test_the_first_call_is_supervised_and_no_hook_stays() -> None:
    """Recursive pyramids run their backbone and laterals more than once."""
    detector = Detector(resnet(), FPN).eval()
    found = find_levels(detector, ["c2", "m3"])
    assert hooks_of(detector) == []
    first, second = torch.rand(2, 1, 3, *IMAGE)
    with record_features(detector, found) as features:
        assert len(hooks_of(detector)) == 2
        detector(first)
        kept = dict(features)
        detector(second)
    detector(second)
    assert len(kept) == 2 and all(features[name] is kept[name] for name in kept)
    with pytest.raises(RuntimeError, match="inside"), record_features(detector, found):
        raise RuntimeError("inside")
    assert hooks_of(detector) == []
