"""An FPN detector's checkpoint in the same detector with each of our necks."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from mmdet.models.necks import FPN
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from torch import Tensor, nn

from fpn_necks.necks import PyramidNeck
from fpn_necks.warm_start import Mismatch, load_fpn_detector
from tests.neck_cases import CASES, OUT_CHANNELS, NeckCase
from tests.tiny_detectors import set_statistic_factors

WIDTHS = [8, 16, 32, 64]  # of the tiny backbone
FPN_ARGUMENTS = set(inspect.signature(FPN).parameters)


def is_pyramid(case: NeckCase) -> bool:
    register_all_modules()
    return issubclass(MODELS.get(case.type), PyramidNeck)


S_ALPHA = "SAlphaFPN"
PYRAMIDS = [case for case in CASES if is_pyramid(case)]


class TinyDetector(nn.Module):
    """The parts of a detector, by their names in mmdet."""

    def __init__(self, neck: Any) -> None:
        super().__init__()
        stages = neck if isinstance(neck, list) else [neck]
        built = [MODELS.build(stage) for stage in stages]
        self.backbone = nn.ModuleList(nn.Conv2d(3, width, 1) for width in WIDTHS)
        self.neck = nn.Sequential(*built) if isinstance(neck, list) else built[0]
        self.bbox_head = nn.Conv2d(OUT_CHANNELS, 4, 1)

    def maps(self) -> list[Tensor]:
        image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
        inputs = [
            conv(image[..., :: 2**i, :: 2**i]) for i, conv in enumerate(self.backbone)
        ]
        return [self.bbox_head(x) for x in self.neck(inputs)]


def fpn_of(case: NeckCase) -> dict[str, Any]:
    shared = {k: v for k, v in case.arguments.items() if k in FPN_ARGUMENTS}
    upsampling = dict(mode="nearest")
    return dict(
        type="FPN",
        in_channels=WIDTHS,
        out_channels=OUT_CHANNELS,
        **{**shared, "upsample_cfg": shared.get("upsample_cfg", upsampling)},
    )


def detectors(case: NeckCase, **changes: Any) -> tuple[TinyDetector, TinyDetector]:
    register_all_modules()
    torch.manual_seed(0)
    fpn = TinyDetector(fpn_of(case)).eval()
    torch.manual_seed(1)
    ours = TinyDetector(case.config(in_channels=WIDTHS, **changes)).eval()
    set_statistic_factors(ours)
    return fpn, ours


def expected_of(case: NeckCase) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is new in our neck and what is left over of FPN's, by first parts."""
    if case.type == "AugFPN":
        return ("residual_features.", "fusion_factor."), ()
    if case.type == "CFGFPN":
        return ("grouping.",), ()
    if case.type == "DRFPN":
        used = 4 - case.arguments.get("start_level", 0)
        last = (f"lateral_convs.{used - 1}.",)
        if case.arguments.get("context", "ppm") == "none":
            last = ()
        paths = ("top_down_connections.", "bottom_up_connections.", "bottom_up_convs.")
        return (*paths, *last), last
    return ("fusion_factor.",), ()


@pytest.mark.parametrize("case", PYRAMIDS, ids=lambda case: case.name)
def test_report_is_exact(case: NeckCase) -> None:
    fpn, ours = detectors(case)
    before = {name: x.clone() for name, x in ours.state_dict().items()}
    saved = fpn.state_dict()
    report = load_fpn_detector(ours, dict(state_dict=saved, meta={}))
    new, left_over = expected_of(case)

    def has(name: str, parts: tuple[str, ...]) -> bool:
        return name.startswith(tuple(f"neck.{part}" for part in parts))

    wrong = {m.name for m in report.mismatched}
    # n groups per level: three of 16 channels are 18.
    if case.name == "cfg-retinanet-rank":
        # Every lateral conv, and every output conv that reads one.
        reads_pyramid = [n for n in saved if n.startswith("neck.lateral_convs.")]
        reads_pyramid += [f"neck.fpn_convs.{i}.conv.weight" for i in range(3)]
        if case.arguments["add_extra_convs"] == "on_lateral":
            reads_pyramid.append("neck.fpn_convs.3.conv.weight")
        assert wrong == set(reads_pyramid)
        name = "neck.lateral_convs.0.conv.weight"
        assert Mismatch(name, (24, 16, 1, 1), (16, 16, 1, 1)) in report.mismatched
    else:
        assert not wrong
    assert report.new == [name for name in before if has(name, new)]
    assert list(report.left_over) == [n for n in saved if has(n, left_over)]
    assert len(report.loaded) == len(saved) - len(report.left_over) - len(wrong)
    assert len(report.loaded) == len(before) - len(report.new) - len(wrong)
    after = ours.state_dict()
    for name in before:
        source = saved[report.loaded[name]] if name in report.loaded else before[name]
        assert torch.equal(after[name], source), name

    counts = report.components()
    assert list(counts["backbone"].values()) == [8, 0, 0, 0]
    assert counts["bbox_head"]["loaded"] == 2
    kinds = counts["backbone"]
    sums = [sum(row[kind] for row in counts.values()) for kind in kinds]
    parts = (report.loaded, report.new, report.left_over, wrong)
    assert sums == [len(part) for part in parts]


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        *((case, dict(fusion_factor=1.0)) for case in PYRAMIDS if case.type == S_ALPHA),
        (CASES[0], dict(fusion_factor="learnable")),
        (CASES[0], dict(fusion_factor="learnable-shared")),
        *((case, {}) for case in CASES if case.name == "augfpn"),
    ],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_equal_to_fpn_where_nothing_is_added(case: NeckCase, changes: dict) -> None:
    """S-α with factors of one, learnable ones at their start, AugFPN's residual off."""
    fpn, ours = detectors(case, **changes)
    report = load_fpn_detector(ours, fpn.state_dict())
    if case.name == "augfpn":
        for name in report.new:
            ours.state_dict()[name].zero_()
    for found, wanted in zip(ours.maps(), fpn.maps(), strict=True):
        assert torch.equal(found, wanted)


def with_asff(case: NeckCase) -> tuple[TinyDetector, TinyDetector]:
    fpn, _ = detectors(case)
    stage = dict(type="ASFF", in_channels=OUT_CHANNELS, out_channels=OUT_CHANNELS)
    return fpn, TinyDetector([fpn_of(case), stage]).eval()


def test_stage_behind_fpn_moves_its_entries() -> None:
    fpn, ours = with_asff(CASES[1])
    saved = fpn.state_dict()
    report = load_fpn_detector(ours, saved)
    assert not report.left_over and not report.mismatched
    assert set(report.loaded.values()) == set(saved)
    assert report.loaded["neck.0.fpn_convs.3.conv.bias"] == "neck.fpn_convs.3.conv.bias"
    assert all(name.startswith("neck.1.") for name in report.new)
    inputs = [torch.rand(1, c, 32 // 2**i, 32 // 2**i) for i, c in enumerate(WIDTHS)]
    for found, wanted in zip(ours.neck[0](inputs), fpn.neck(inputs), strict=True):
        assert torch.equal(found, wanted)
    counts = report.components()
    assert counts["neck.0.lateral_convs"]["loaded"] == 6
    assert counts["neck.0.fpn_convs"]["loaded"] == 10
    assert counts["neck.1.fusions"]["new"] == len(report.new)


def test_first_stage_of_a_list_moves_into_a_single_neck() -> None:
    fpn, staged = with_asff(CASES[1])
    report = load_fpn_detector(fpn, staged.state_dict())
    assert not report.new and not report.mismatched
    assert all(name.startswith("neck.1.") for name in report.left_over)


def test_other_classes_are_mismatched_and_kept() -> None:
    fpn, ours = detectors(CASES[0])
    ours.bbox_head = nn.Conv2d(OUT_CHANNELS, 6, 1)
    before = ours.bbox_head.weight.clone()
    report = load_fpn_detector(ours, fpn.state_dict())
    assert report.mismatched == [
        Mismatch("bbox_head.weight", (6, 16, 1, 1), (4, 16, 1, 1)),
        Mismatch("bbox_head.bias", (6,), (4,)),
    ]
    assert torch.equal(ours.bbox_head.weight, before)
    table = report.table()
    assert "bbox_head.bias: (6,) in the model, (4,) in the checkpoint" in table
    row = next(line for line in table.splitlines() if line.startswith("bbox_head"))
    assert row.split() == ["bbox_head", "-", "-", "-", "2"]


def test_wrapped_models_and_checkpoints() -> None:
    fpn, ours = detectors(CASES[0])
    saved = {f"module.{name}": x for name, x in fpn.state_dict().items()}
    report = load_fpn_detector(nn.DataParallel(ours), saved)
    assert len(report.loaded) == len(saved)
    assert torch.equal(ours.bbox_head.weight, fpn.bbox_head.weight)


def test_files_or_what_they_hold(tmp_path: Path) -> None:
    fpn, ours = detectors(CASES[0])
    path = tmp_path / "x.pth"
    torch.save(dict(state_dict=fpn.state_dict(), meta=dict(epoch=12)), path)
    for source in (path, str(path), dict(state_dict=fpn.state_dict())):
        assert load_fpn_detector(ours, source).loaded
    for wrong, error, message in (
        (tmp_path / "missing", FileNotFoundError, "missing"),
        (dict(state_dict={}), ValueError, "holds no state dict"),
        (dict(epoch=12), ValueError, "holds no state dict"),
        ({"x": torch.zeros(1)}, ValueError, "nothing of the checkpoint fits"),
    ):
        with pytest.raises(error, match=message):
            load_fpn_detector(ours, wrong)
