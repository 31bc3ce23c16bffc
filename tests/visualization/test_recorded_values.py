"""What is recorded equals what the parts of a model give when called by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox2roi

from fpn_necks.hooks.recording import level_number, level_numbers, observe
from fpn_necks.hooks.weights import record_asff_weights, record_soft_roi_weights
from fpn_necks.layers import FeatureGrouping, SpatialRefinement
from fpn_necks.necks import ASFF
from fpn_necks.roi_extractors import level_shares, original_levels
from fpn_necks.visualization.asff import collect_asff_weights
from fpn_necks.visualization.detections import collect_detections
from fpn_necks.visualization.features import collect_features
from fpn_necks.visualization.fusion_factors import collect_factors
from fpn_necks.visualization.grouping import collect_grouping
from fpn_necks.visualization.sampling import collect_sampling, offsets_in_pixels
from fpn_necks.visualization.soft_roi import collect_soft_roi_shares
from fpn_necks.visualization.uncertainty import collect_uncertainty
from fpn_necks.visualization.views import run
from tests.visualization.pictures import (
    ASFF_ON_S_ALPHA,
    CFG,
    DENSE,
    DRFPN,
    IMAGE_SIZE,
    ROIS,
    SOFT_ROI,
    rms,
)

Look = Callable[[str], tuple]


def hooks_of(model: torch.nn.Module) -> int:
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()
    )


def test_an_image_is_what_the_network_sees(look: Look) -> None:
    _, view = look("plain")
    width, height = IMAGE_SIZE
    assert view.image.shape == view.original.shape == (height, width, 3)
    assert view.padded == (128, 160)  # multiples of 32
    np.testing.assert_array_equal(view.image, view.original)
    inputs = view.batch["inputs"][0, :, :height, :width]
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395] * 3)
    red = inputs[0] * std[0] + mean[0]
    np.testing.assert_allclose(red.numpy(), view.image[..., 0], atol=1e-3)


@pytest.mark.parametrize("name", ["plain", ASFF_ON_S_ALPHA])
@torch.no_grad()
def test_features(look: Look, name: str) -> None:
    model, view = look(name)
    before = hooks_of(model)
    rows = collect_features(model, view)
    assert hooks_of(model) == before
    found = {row.label: {x.level: x.values for x in row.maps} for row in rows}
    outputs = model.backbone(view.batch["inputs"])
    stages = list(model.neck) if name == ASFF_ON_S_ALPHA else [model.neck]
    used = outputs[1:] if name == ASFF_ON_S_ALPHA else outputs  # RetinaNet starts at C3
    laterals = [conv(x) for conv, x in zip(stages[0].lateral_convs, used, strict=True)]
    expected = [("c", 2, outputs), ("m", 3 if name == ASFF_ON_S_ALPHA else 2, laterals)]
    maps = outputs
    for stage in stages:
        maps = stage(maps)
        expected.append(("p", 3 if name == ASFF_ON_S_ALPHA else 2, maps))
    assert len(rows) == len(expected)
    for row, (letter, first, tensors) in zip(found.values(), expected, strict=True):
        assert list(row) == [f"{letter}{first + i}" for i in range(len(tensors))]
        for values, x in zip(row.values(), tensors, strict=True):
            np.testing.assert_allclose(values, rms(x), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_channel_and_some_levels(look: Look) -> None:
    model, view = look("plain")
    rows = collect_features(model, view, levels=["p3", "c3"], channel=5)
    assert [x.level for row in rows for x in row.maps] == ["c3", "p3"]
    expected = model.backbone(view.batch["inputs"])[1][0, 5].numpy()
    np.testing.assert_array_equal(rows[0].maps[0].values, expected)
    with pytest.raises(ValueError, match="levels names 'p9'; there is c2, c3"):
        collect_features(model, view, levels=["p9"])
    with pytest.raises(ValueError, match=r"channel must lie in \[0, 15\].*got 16"):
        collect_features(model, view, channel=16)


@torch.no_grad()
def test_asff_weights(look: Look) -> None:
    model, view = look(ASFF_ON_S_ALPHA)
    fpn, asff = model.neck
    expected = asff.weight_maps(fpn(model.backbone(view.batch["inputs"])))
    rows = collect_asff_weights(model, view)
    assert [row.label for row in rows] == ["fused P3", "fused P4", "fused P5"]
    for row, weights in zip(rows, expected, strict=True):
        values = np.stack([x.values for x in row.maps])
        np.testing.assert_allclose(values, weights[0].numpy(), rtol=1e-5)
        np.testing.assert_allclose(values.sum(0), 1, rtol=1e-5)
    (row,) = collect_asff_weights(model, view, levels=["p4"])
    assert row.label == "fused P4" and [x.column for x in row.maps] == [3, 4, 5]


def test_recording_moves_batch_statistics_once() -> None:
    """As a pass without recording does; and it keeps no graph."""
    model = torch.nn.Sequential(ASFF(8, 8))
    maps = [torch.rand(2, 8, 16 // 2**i, 24 // 2**i) for i in range(3)]
    with record_asff_weights(model) as found:
        model(maps)
    counts = [
        int(m.num_batches_tracked)
        for m in model.modules()
        if isinstance(m, torch.nn.BatchNorm2d)
    ]
    assert len(counts) > 10 and set(counts) == {1}
    assert not any(x.requires_grad for x in found["0"])


@torch.no_grad()
def test_soft_roi_shares(look: Look) -> None:
    model, view = look(SOFT_ROI)
    maps = model.extract_feat(view.batch["inputs"])
    proposals = model.rpn_head.predict(maps, view.batch["data_samples"])
    rois = bbox2roi([result.bboxes for result in proposals])
    extractor = model.roi_head.bbox_roi_extractor
    expected = extractor.level_weights(maps[:4], rois)
    with record_soft_roi_weights(model) as recorded:
        run(model, view)
    ((path, calls),) = recorded.items()
    assert path == "roi_head.bbox_roi_extractor" and len(rois) > 0
    torch.testing.assert_close(calls, [(rois, expected)])
    shares = collect_soft_roi_shares(model, [view, view], ["p3"])[path]
    groups = original_levels(rois, 4)
    assert (shares.levels, shares.shown) == (("P2", "P3", "P4", "P5"), ("P3",))
    assert shares.counts.tolist() == [2 * int((groups == i).sum()) for i in range(4)]
    wanted = level_shares(expected, groups).numpy()
    np.testing.assert_allclose(shares.shares, wanted, rtol=1e-5)


@torch.no_grad()
def test_sampling(look: Look) -> None:
    model, view = look(DRFPN)
    blocks = [c.spatial_refinement for c in model.neck.top_down_connections]
    rows = collect_sampling(model, view)
    for row in rows:
        assert [x.title for x in row.maps] == ["P4 → P3", "P5 → P4"]
    calls: dict[str, tuple] = {}
    names = {str(i): block for i, block in enumerate(blocks)}
    with observe(names, lambda name, x, y: calls.update({name: (*x, y)})):
        run(model, view)
    for i, block in enumerate(blocks):
        plain, offsets, weights, outputs = (row.maps[i] for row in rows)
        low, high, refined = calls[str(i)]
        offset, weight = block.offset_and_weight(low, high)
        height, width = low.shape[2:]
        # [-1, 1] is the padded image, and the code divides δ by width and height.
        pixels = offset[0] * torch.tensor(
            [view.padded[1] / 2 / width, view.padded[0] / 2 / height]
        ).view(2, 1, 1)
        np.testing.assert_allclose(offsets.arrows, pixels.numpy(), atol=2e-4)
        lengths = pixels.square().sum(0).sqrt().numpy()
        np.testing.assert_allclose(offsets.values, lengths, atol=2e-4)
        np.testing.assert_allclose(weights.values, weight[0, 0].numpy(), rtol=1e-5)
        np.testing.assert_allclose(outputs.values, rms(refined), rtol=1e-5)
        resized = high.repeat_interleave(2, 2).repeat_interleave(2, 3)
        np.testing.assert_allclose(plain.values, rms(resized), rtol=1e-5)


@pytest.mark.parametrize("scale", ["size", "mean-side"])
@pytest.mark.parametrize("grid", ["released", "identity"])
def test_offsets_move_what_is_sampled(scale: str, grid: str) -> None:
    """An offset of so many pixels samples so many pixels further."""
    block = SpatialRefinement(2, offset_scale=scale, base_grid=grid)
    offset = torch.zeros(1, 2, 8, 16)
    offset[:, 0], offset[:, 1] = 3.0, -2.0
    target = torch.zeros(1, 2, 8, 16)
    found = offsets_in_pixels(block, offset, target, (64, 128))
    size = (16, 8) if scale == "size" else (12, 12)
    expected = [3 / size[0] * 64, -2 / size[1] * 32]
    torch.testing.assert_close(
        found[0, :, 3, 5], torch.tensor(expected), atol=1e-3, rtol=0
    )


@torch.no_grad()
def test_grouping(look: Look) -> None:
    model, view = look(CFG)
    maps = model.neck.lateral_convs(model.backbone(view.batch["inputs"])[1:])
    rows = collect_grouping(model, view)
    stages = [m for m in model.neck.modules() if isinstance(m, FeatureGrouping)]
    for row, stage in zip(rows, stages, strict=True):
        for x, matrix, y in zip(row.maps, stage.matrices, maps, strict=True):
            np.testing.assert_allclose(x.values, matrix(y)[0].numpy(), atol=1e-6)
            assert x.groups == ("P3", "P4", "P5")
        maps = stage(maps)
    levels = [[x.level for x in r.maps] for r in collect_grouping(model, view, ["p5"])]
    assert levels == [["p5"]] * 3


def test_fusion_factors(look: Look) -> None:
    model, _ = look(ASFF_ON_S_ALPHA)
    expected = {"P3 from P4": ([], [0.5]), "P4 from P5": ([], [0.25])}
    assert collect_factors(model) == expected


def test_detections(look: Look) -> None:
    model, view = look("plain")
    expected = run(model, view).pred_instances
    scores = expected.scores.sort().values
    threshold = float(scores[len(scores) // 2])
    found = collect_detections(model, view, threshold)[1].pred_instances
    kept = expected.scores >= threshold
    assert 0 < len(found) == int(kept.sum()) < len(expected)
    torch.testing.assert_close(found.bboxes, expected.bboxes[kept])


@torch.no_grad()
def test_uncertainty_of_places(look: Look) -> None:
    model, view = look(DENSE)
    rows = collect_uncertainty(model, view)
    labels = [
        f"{c}: {kind}"
        for c in ("C2", "C3", "C4")
        for kind in ("classification", "boxes")
    ]
    assert [row.label for row in rows] == labels
    outputs = model.backbone(view.batch["inputs"])
    sizes = [x.shape[2:] for x in model.neck(outputs)]
    for i, name in enumerate(("c2", "c3", "c4")):
        predictor = model.auxiliary.predictors[name]
        predictor(outputs[i], sizes)  # sets what it hands to the losses
        for kind, row in zip(("cls", "bbox"), rows[2 * i :], strict=False):
            for x, alpha in zip(row.maps, predictor.rows._alpha[kind], strict=True):
                np.testing.assert_allclose(x.values.ravel(), alpha.numpy(), rtol=1e-5)
    (row, _) = collect_uncertainty(model, view, ["c3"])
    assert [x.column for x in row.maps] == [8, 16, 32, 64, 128]


@torch.no_grad()
def test_uncertainty_of_rois(look: Look) -> None:
    model, view = look(ROIS)
    rows = collect_uncertainty(model, view)
    form = model.auxiliary
    maps = model.backbone(view.batch["inputs"])
    proposals = model.rpn_head.predict(model.neck(maps), view.batch["data_samples"])
    rois = bbox2roi([result.bboxes for result in proposals])
    for i, name in enumerate(("c2", "c3", "c4")):
        x = form.pre_convs[i](maps[i])
        x = form.roi_extractor.pool_level(i, x, rois).flatten(1)
        for layer in form.bbox_heads[i].shared_fcs:
            x = layer(x).relu()
        for kind, row in zip(("cls", "bbox"), rows, strict=True):
            found = row.maps[i]
            assert found.level == name
            np.testing.assert_allclose(found.boxes, rois[:, 1:].numpy())
            expected = form.uncertainty[i][kind].layer(x).relu().flatten().numpy()
            np.testing.assert_allclose(found.values, expected, rtol=1e-4)


def test_levels_are_numbered_by_stride() -> None:
    assert level_number((800, 1344), (13, 21)) == 6
    assert level_number((128, 160), (1, 2)) == 7
    assert level_number((100, 37), (50, 19)) == 1
    assert level_number((100, 37), (50, 18)) == 1  # rounded down
    # Coarse to fine, as YOLOv3's neck returns its maps.
    assert level_numbers((64, 64), [(2, 2), (4, 4), (8, 8)]) == [5, 4, 3]
    assert level_numbers((64, 64), [(2, 2), (1, 1), (1, 1)]) == [5, 6, 7]
