import pytest
import torch

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


def test_rows_are_rois_then_levels() -> None:
    extractor = AllLevelRoIExtractor(
        dict(type="RoIAlign", output_size=2, sampling_ratio=0), 1, [4, 8, 16]
    )
    feats = [torch.full((2, 1, 16 // 2**i, 16 // 2**i), float(i)) for i in range(3)]
    feats = [x + torch.tensor([0.0, 10.0])[:, None, None, None] for x in feats]
    rois = torch.tensor([[0, 8, 8, 40, 40], [1, 8, 8, 40, 40]], dtype=torch.float)
    rows = extractor(feats, rois)
    assert rows.shape == (6, 1, 2, 2)
    expected = torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    torch.testing.assert_close(rows.mean((1, 2, 3)), expected)
    assert extractor(feats, rois[:0]).shape == (0, 1, 2, 2)


def test_wrong_number_of_maps() -> None:
    extractor = AllLevelRoIExtractor(dict(type="RoIAlign", output_size=2), 1, [4, 8])
    with pytest.raises(ValueError, match="expected 2 feature maps.*got 1"):
        extractor([torch.zeros(1, 1, 4, 4)], torch.zeros(1, 5))
