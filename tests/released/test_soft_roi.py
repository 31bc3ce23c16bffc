import pytest
import torch

from fpn_necks import released
from tests.golden import every_file, golden

FILES = [f"augfpn_softroi_{op}_sr{n}" for op in ("mmcv", "legacy") for n in (2, 0)]


@every_file(*FILES)
def test_parity(name: str) -> None:
    case = golden(name)
    config = dict(case.config)
    if "legacy" in name:
        config["roi_layer"] = config["roi_layer"] | dict(legacy=True)
    extractor = released.build("soft-roi", **config)
    extractor.load_state_dict(released.convert("soft-roi", case.state))
    feats = [case.inputs[f"feat.{i}"] for i in range(4)]
    rois = case.inputs["rois"]
    found = {"y": extractor(feats, rois)}
    case.check_outputs(found)
    torch.testing.assert_close(
        extractor.level_weights(feats, rois),
        case.middle["spatial_attention_logits"].sigmoid(),
        atol=2e-6,
        rtol=0,
    )
    case.backward(found)
    names = released.convert("soft-roi", {k: k for k in case.state})
    gradients = {
        theirs: extractor.get_parameter(ours).grad for ours, theirs in names.items()
    }
    gradients |= {f"in/feat.{i}": x.grad for i, x in enumerate(feats)}
    case.check_gradients(gradients)


def test_the_operators_differ() -> None:
    """Otherwise parity with one of them would say nothing about the other."""
    legacy, mmcv = (
        golden("augfpn_softroi_legacy_sr2"),
        golden("augfpn_softroi_mmcv_sr2"),
    )
    for name, tensor in legacy.state.items():
        assert torch.equal(tensor, mmcv.state[name])
    assert (legacy.outputs["y"] - mmcv.outputs["y"]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (dict(type="RoIPool"), ValueError, "must have type='RoIAlign', got 'RoIPool'"),
        (dict(aligned=True), TypeError, "unexpected keyword argument 'aligned'"),
    ],
)
def test_wrong_roi_layer(changes: dict, error, message: str) -> None:
    layer = dict(type="RoIAlign", out_size=7, sample_num=2) | changes
    with pytest.raises(error, match=message):
        released.build(
            "soft-roi", roi_layer=layer, out_channels=4, featmap_strides=[4, 8]
        )


def test_finest_scale_is_taken_and_does_nothing() -> None:
    arguments = dict(
        roi_layer=dict(type="RoIAlign", out_size=7, sample_num=2),
        out_channels=4,
        featmap_strides=[4, 8],
        finest_scale=112,
    )
    assert released.build("soft-roi", **arguments).num_inputs == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'fusion'"):
        released.build("soft-roi", **arguments, fusion="max")
