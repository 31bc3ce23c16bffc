import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

import fpn_necks.hooks.neck_visualization_hook as module
from fpn_necks.hooks import NeckVisualizationHook
from fpn_necks.layers import softmax_over_levels
from fpn_necks.roi_extractors import level_shares
from fpn_necks.visualization.fusion_factors import read_factors
from tests.tiny_detectors import detector_config
from tests.tiny_sets import write_coco_set

ASFF = "retinanet_r50_s-alpha-fpn-asff_1x_coco"
SOFT_ROI = "faster-rcnn_r50_augfpn_1x_coco"
LEARNABLE = {"model.neck.0.fusion_factor": "learnable"}


class Watcher(Hook):
    """Counts the forward hooks of an iteration; runs after every other hook."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.counts: list[int] = []

    def before_train_iter(self, runner: Runner, *_, **__) -> None:
        self.counts.append(hooks_of(runner.model))


def hooks_of(model: torch.nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in model.modules())


def build(folder: Path, name: str, interval: int | None, **changes) -> Runner:
    config = detector_config(name, folder)
    config.work_dir = str(folder / f"run-{interval}")
    config.visualizer.vis_backends = [dict(type="LocalVisBackend")]
    # mmengine hands out the visualizer of that name that there is.
    config.visualizer.name = config.work_dir
    config.param_scheduler = []  # without warm-up two steps change α
    if interval is not None:
        config.custom_hooks = [dict(type="NeckVisualizationHook", interval=interval)]
    config.merge_from_dict(changes)
    return Runner.from_cfg(config)


def scalars(runner: Runner, *prefixes: str) -> dict[int, dict[str, float]]:
    """Return what was written under some prefixes, by step."""
    (file,) = Path(runner.work_dir).glob("*/vis_data/scalars.json")
    found: dict[int, dict[str, float]] = {}
    for line in file.read_text().splitlines():
        record = json.loads(line)
        chosen = {k: v for k, v in record.items() if k.startswith(prefixes)}
        if chosen:
            found.setdefault(record["step"], {}).update(chosen)
    return found


def test_writes_what_the_iterations_computed(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    runner = build(tmp_path, ASFF, 1, **LEARNABLE)
    scores: list[list[torch.Tensor]] = [[], [], []]
    for level, fusion in enumerate(runner.model.neck[1].fusions):
        fusion.scores.register_forward_hook(
            lambda _m, _x, y, level=level: scores[level].append(y.detach())
        )
    runner.train()
    found = scalars(runner, "alpha/", "asff/", "soft_roi/")
    assert list(found) == [1, 2]
    for step, values in found.items():
        assert len(values) == 2 + 9
        for level in range(3):
            weights = softmax_over_levels(scores[level][step - 1]).mean((0, 2, 3))
            names = [f"asff/neck.1.p{level + 3}_from_p{n}" for n in (3, 4, 5)]
            assert [values[n] for n in names] == pytest.approx(weights.tolist())
            assert sum(values[n] for n in names) == pytest.approx(1)
    alpha = runner.model.neck[0].fusion_factor.alpha.tolist()
    names = ["alpha/neck.0.fusion_factor.0", "alpha/neck.0.fusion_factor.1"]
    assert [found[2][name] for name in names] == pytest.approx(alpha)
    assert found[1] != found[2] and alpha != [1.0, 1.0]
    curves = read_factors(tmp_path / "run-1")
    assert curves == {
        f"neck.0.fusion_factor.{i}": ([1, 2], [found[1][name], found[2][name]])
        for i, name in enumerate(names)
    }


def test_soft_roi_shares(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    runner = build(tmp_path, SOFT_ROI, 1)
    extractor = runner.model.roi_head.bbox_roi_extractor
    expected: list[list[float]] = []

    def look(_module, inputs, _output) -> None:
        if extractor.training:  # a validation follows
            with torch.no_grad():
                weights = extractor.level_weights(*inputs)
            expected.append(level_shares(weights).tolist())

    extractor.register_forward_hook(look)
    runner.train()
    found = scalars(runner, "soft_roi/")
    assert list(found) == [1, 2]
    for values, shares in zip(found.values(), expected, strict=True):
        path = "soft_roi/roi_head.bbox_roi_extractor"
        assert list(values) == [f"{path}.p{n}" for n in (2, 3, 4, 5)]
        assert list(values.values()) == pytest.approx(shares, rel=1e-4)


def test_costs_nothing_between_and_changes_nothing(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    plain = build(tmp_path, ASFF, None, **LEARNABLE)
    plain.train()
    runner = build(tmp_path, ASFF, 2, **LEARNABLE)
    watcher = Watcher()
    runner.register_hook(watcher)
    runner.train()
    assert watcher.counts[0] == 0 < watcher.counts[1]
    assert hooks_of(runner.model) == 0
    assert list(scalars(runner, "alpha/", "asff/")) == [2]
    for key, value in plain.model.state_dict().items():
        assert torch.equal(value, runner.model.state_dict()[key]), key


def test_attention_factors_are_averaged_over_the_batch(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    changes = {"model.neck.fusion_factor": "attention"}
    name = "retinanet_r50_s-alpha-fpn_1x_coco"
    runner = build(tmp_path, name, 1, **changes)
    attention = runner.model.neck.fusion_factor.attention
    alphas: dict[int, list[float]] = {0: [], 1: []}

    def look(i: int, branch: torch.nn.Module, alpha: torch.Tensor) -> None:
        if branch.training:  # a validation follows
            alphas[i].append(float(alpha.mean()))

    for i, branch in enumerate(attention):
        branch.register_forward_hook(lambda m, _x, y, i=i: look(i, m, y))
    runner.train()
    found = scalars(runner, "alpha/")
    # Each is computed twice here: in the pass, and to be written.
    for i in (0, 1):
        written = [values[f"alpha/neck.fusion_factor.{i}"] for values in found.values()]
        assert written == pytest.approx(alphas[i][::2])


def test_other_processes_record_nothing(tmp_path: Path, monkeypatch) -> None:
    write_coco_set(tmp_path)
    monkeypatch.setattr(module, "is_main_process", lambda: False)
    runner = build(tmp_path, ASFF, 1, **LEARNABLE)
    watcher = Watcher()
    runner.register_hook(watcher)
    runner.train()
    assert watcher.counts == [0, 0]
    assert scalars(runner, "alpha/", "asff/") == {}


def test_says_so_where_there_is_nothing(tmp_path: Path) -> None:
    write_coco_set(tmp_path)
    neck = dict(
        type="FPN", in_channels=[16, 32, 64, 128], out_channels=32, num_outs=5,
        start_level=1, add_extra_convs="on_output", _delete_=True,
    )  # fmt: skip
    name = "retinanet_r50_s-alpha-fpn_1x_coco"
    runner = build(tmp_path, name, 1, **{"model.neck": neck})
    warnings: list[str] = []
    runner.logger.warning = warnings.append
    runner.train()
    assert len([w for w in warnings if "finds nothing to record" in w]) == 1
    assert scalars(runner, "alpha/", "asff/", "soft_roi/") == {}


@pytest.mark.parametrize(
    ("interval", "error"), [(0, ValueError), (True, TypeError), (2.5, TypeError)]
)
def test_wrong_intervals(interval: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"interval must be .*got {interval}"):
        NeckVisualizationHook(interval)
