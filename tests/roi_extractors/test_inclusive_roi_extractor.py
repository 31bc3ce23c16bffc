"""Pooling up to the last pixel inside a RoI, as maskrcnn-benchmark does."""

import pytest
import torch
from mmdet.registry import MODELS

import fpn_necks  # noqa: F401

SETTINGS = dict(
    type="InclusiveRoIExtractor",
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2, aligned=False),
    out_channels=2,
    featmap_strides=[4, 8, 16, 32],
)


def test_a_pixel_less_is_pooled_from_the_same_level() -> None:
    random = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(2, 2, 128 // s, 160 // s, generator=random) for s in (4, 8, 16, 32)
    ]
    # The second is at the border between two levels: a pixel less is the finer one's.
    rois = torch.tensor([[0.0, 10, 20, 18, 30], [1, 3, 4, 115, 116]])
    ours = MODELS.build(SETTINGS)
    mmdets = MODELS.build(dict(SETTINGS, type="SingleRoIExtractor"))
    assert ours.map_roi_levels(rois, 4).tolist() == [0, 1]
    found = ours(maps, rois)
    for level, roi in enumerate(rois):
        shorter = roi[None] - torch.tensor([0.0, 0, 0, 1, 1])
        expected = mmdets.roi_layers[level](maps[level], shorter)
        torch.testing.assert_close(found[level], expected[0])
    assert not torch.allclose(found, mmdets(maps, rois), atol=1e-2)


def test_another_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="roi_layer must have type='RoIAlign'"):
        MODELS.build(dict(SETTINGS, roi_layer=dict(type="RoIPool", output_size=7)))
