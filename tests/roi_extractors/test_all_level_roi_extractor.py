import pytest
import torch
from mmcv.ops import RoIAlign

from fpn_necks.roi_extractors import AllLevelRoIExtractor
from tests.golden import every_file, golden

FILES = [f"augfpn_auxallroi_{op}_sr{n}" for op in ("mmcv", "legacy") for n in (2, 0)]


@every_file(*FILES)
def test_parity(name: str) -> None:
    case = golden(name)
    released = case.config["roi_layer"]
    layer = dict(
        type="RoIAlign",
        output_size=released["out_size"],
        sampling_ratio=released["sample_num"],
    )
    layer |= dict(legacy=True) if "legacy" in name else dict(aligned=False)
    extractor = AllLevelRoIExtractor(
        layer, case.config["out_channels"], case.config["featmap_strides"]
    )
    feats = [case.inputs[f"feat.{i}"] for i in range(4)]
    found = {"y": extractor(feats, case.inputs["rois"])}
    case.check_outputs(found)
    case.backward(found)
    case.check_gradients({f"in/feat.{i}": x.grad for i, x in enumerate(feats)})


def test_other_rois_for_each_level() -> None:
    """``pool_level`` has no need of the other maps, and widths may differ."""
    layer = dict(type="RoIAlign", output_size=2, sampling_ratio=0)
    extractor = AllLevelRoIExtractor(layer, 3, [4, 8])
    rois = torch.tensor([[1.0, 8, 8, 40, 30], [0.0, 3, 4, 9, 12]])
    maps = [torch.rand(2, 3, 8, 12), torch.rand(2, 5, 4, 6, requires_grad=True)]
    for level, x in enumerate(maps):
        align = RoIAlign(2, 1 / (4, 8)[level], sampling_ratio=0)
        assert torch.equal(extractor.pool_level(level, x, rois), align(x, rois))
        assert extractor.pool_level(level, x, rois[:0]).shape == (0, x.shape[1], 2, 2)
    extractor.pool_level(1, maps[1], rois[:0]).sum().backward()
    assert maps[1].grad is not None and not maps[1].grad.any()
    # Auxiliary heads may see a single level; there is nothing to fuse.
    single = AllLevelRoIExtractor(layer, 3, [4])
    assert torch.equal(single(maps[:1], rois), single.pool_level(0, maps[0], rois))
    with pytest.raises(ValueError, match="featmap_strides must name at least 1 level"):
        AllLevelRoIExtractor(layer, 3, [])
