"""Losses, training under mixed precision, and the costs of whole detectors."""

from dataclasses import replace

import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.optim.optimizer import amp_optimizer_wrapper

from fpn_necks.gpu_checks import detector_costs, parity, training
from fpn_necks.gpu_checks.outcomes import CheckFailed, Unsupported
from fpn_necks.gpu_checks.settings import QUICK
from fpn_necks.gpu_checks.subjects import DETECTORS, detector_config

CPU = torch.device("cpu")
SMALL = replace(QUICK, steps=2, pairs=1)
RETINANET = DETECTORS["S-α FPN, RetinaNet"]


@pytest.fixture(scope="module", autouse=True)
def _register() -> None:
    register_all_modules()


def small_config(name: str = RETINANET):
    return detector_config(name, SMALL)


@pytest.mark.long
@pytest.mark.parametrize("name", DETECTORS.values(), ids=str)
def test_all_train_in_bfloat16_and_lose_the_same(name: str) -> None:
    numbers = training.check_training(small_config(name), SMALL, CPU, "bf16")
    assert len(numbers["losses"]) == 2
    assert parity.check_losses(small_config(name), SMALL, CPU)["losses"]["loss"] > 0


def test_training_in_bfloat16() -> None:
    numbers = training.check_training(small_config(), SMALL, CPU, "bf16")
    assert numbers["losses"][0] != numbers["losses"][1]
    assert "in_half_precision" not in numbers


def test_there_is_no_fp16_on_a_processor() -> None:
    with pytest.raises(Unsupported, match="no mixed precision in fp16"):
        training.check_training(small_config(), SMALL, CPU, "fp16")


def test_the_optimiser_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """AmpOptimWrapper asks for a GPU; behind that question it works here too."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    gpu = torch.device("cuda")  # only named
    config = small_config()
    fp16 = training.optimiser(config, 2, "fp16", gpu)
    assert (fp16["type"], fp16["dtype"]) == ("AmpOptimWrapper", "float16")
    assert fp16["loss_scale"] == "dynamic"
    assert fp16["optimizer"]["lr"] == pytest.approx(0.01 * 2 / 16 / 10)
    detector = parity.MeasuredDetector(config, SMALL.size, 2, CPU, train=False)
    bf16 = training.optimiser(config, 2, "bf16", gpu)
    wrapper = training.build_optim_wrapper(detector.model, bf16)
    assert type(wrapper).__name__ == "AmpOptimWrapper"
    seen = []
    hook = detector.model.neck.register_forward_hook(
        lambda *call: seen.append(call[2][0].dtype)
    )
    numbers = training.train(detector, wrapper, 2, training.nullcontext)
    hook.remove()
    assert seen == [torch.bfloat16] * 2
    assert "loss_scale" not in numbers  # nothing is scaled in bfloat16


class _Scaler:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def is_enabled(self) -> bool:
        return True

    def get_scale(self) -> float:
        return self.scale


def _prepared():
    config = small_config()
    detector = parity.MeasuredDetector(config, SMALL.size, 2, CPU, train=False)
    settings = training.optimiser(config, 2, "fp32", CPU)
    return detector, training.build_optim_wrapper(detector.model, settings)


def test_what_training_finds() -> None:
    """A scale that collapses, weights that stay, losses and weights that are NaN."""
    detector, wrapper = _prepared()
    wrapper.loss_scaler = _Scaler(64.0)
    with pytest.raises(CheckFailed, match="scaler has come down to 64"):
        training.train(detector, wrapper, 1, training.nullcontext)
    wrapper.loss_scaler = _Scaler(65536.0)
    numbers = training.train(detector, wrapper, 1, training.nullcontext)
    assert numbers["loss_scale"] == 65536
    for group in wrapper.optimizer.param_groups:
        group["lr"] = 0.0
    with pytest.raises(CheckFailed, match="weights did not change"):
        training.train(detector, wrapper, 1, training.nullcontext)
    with torch.no_grad():
        detector.model.neck.fpn_convs[0].conv.bias.fill_(float("nan"))
    with pytest.raises(CheckFailed, match=r"step 0: .*loss_cls.* not finite"):
        training.train(detector, wrapper, 1, training.nullcontext)


def test_an_operator_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As mmcv's focal loss and RoIAlign on a GPU: the head falls back to float32."""
    from mmdet.models.dense_heads import RetinaHead

    original = RetinaHead.loss_by_feat

    def loss_by_feat(self, cls_scores, *arguments, **names):
        if cls_scores[0].dtype == torch.bfloat16:
            raise RuntimeError("\"sigmoid_focal_loss\" not implemented for 'BFloat16'")
        return original(self, cls_scores, *arguments, **names)

    monkeypatch.setattr(RetinaHead, "loss_by_feat", loss_by_feat)
    numbers = training.check_training(small_config(), SMALL, CPU, "bf16")
    assert numbers["in_half_precision"] == "backbone and neck alone"
    assert "sigmoid_focal_loss" in numbers["reason"]

    def other(self, *arguments, **names):
        raise RuntimeError("CUDA error: an illegal memory access")

    monkeypatch.setattr(RetinaHead, "loss_by_feat", other)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        training.check_training(small_config(), SMALL, CPU, "bf16")


def test_half_features_are_undone() -> None:
    detector, _ = _prepared()
    with training.half_features(detector.model, CPU, torch.bfloat16):
        maps = detector.model.extract_feat(detector.inputs)
        assert maps[0].dtype == torch.float32
    exact = detector.model.extract_feat(detector.inputs)
    assert "extract_feat" not in vars(detector.model)
    error = (maps[0] - exact[0]).abs().max() / exact[0].abs().max()
    assert 0 < error < 0.05


def test_losses() -> None:
    numbers = parity.check_losses(small_config(), SMALL, CPU)
    assert numbers["loss_error"] == 0 and numbers["limit"] == parity.DENSE_LOSS_LIMIT
    expected = dict(loss=1.0, loss_cls=0.6)
    assert parity.compare_losses(dict(loss=1.0, loss_cls=0.6001), expected, 1e-3)
    for found, message in (
        (dict(loss=1.0, loss_cls=0.61), "the error of loss_cls is 0.017"),
        (dict(loss=float("nan"), loss_cls=0.6), "the error of loss is nan"),
        (dict(loss=1.0), "the losses are"),
    ):
        with pytest.raises(CheckFailed, match=message):
            parity.compare_losses(found, expected, 1e-3)


@pytest.mark.long
def test_costs_beside_fpn_with_the_papers_claims() -> None:
    numbers = detector_costs.measure_detector("RetinaNet", "CFG-FPN", SMALL, CPU)
    base, other = numbers["detectors"]
    assert base["title"] == "RetinaNet, FPN"
    assert other["parameters"]["neck"] > base["parameters"]["neck"]
    assert other["parameters"]["head"] == base["parameters"]["head"]
    (claim,) = numbers["claims"]
    assert claim["claim"]["method"] == "CFGFPN"
    assert claim["measured"]["ratio"] == other["inference"]["whole"]["ratio"] > 0


@pytest.mark.long
def test_every_compared_config_is_there() -> None:
    """And differs from its base in neck, RoI extractor and auxiliary losses alone."""
    for detector, titles in detector_costs.COMPARED.items():
        base = detector_costs.config_of(detector, detector_costs.BASE, SMALL).model
        for title in titles:
            model = detector_costs.config_of(detector, title, SMALL).model
            assert model.backbone.depth == base.backbone.depth, (detector, title)
            heads = [
                dict(m.bbox_head if "bbox_head" in m else m.roi_head.bbox_head)
                for m in (base, model)
            ]
            assert heads[0] == heads[1], (detector, title)
            assert ("auxiliary losses" in title) == bool(model.get("auxiliary"))
