"""The study of tools/study: its plan, its choices, its page."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import recipe
import report
import results
from recipe import CURVE, NECKS, RATES, Entry, Run

import configs

DOCS = Path(__file__).parents[2] / "docs"
RUN = Run("tinyperson", "fpn", RATES[0])


def made_up(run: Run, score: float | None) -> dict:
    """Return a result; one without a score diverged."""
    columns = report.COLUMNS[run.data].values()
    return dict(
        **dataclasses.asdict(run),
        recipe=configs.recipe_hash(run),
        diverged="the loss is not finite" if score is None else None,
        metrics=None if score is None else dict.fromkeys(columns, score),
        alpha=[0.2, 0.3, 0.7] if run.neck == "s-alpha-fpn" else None,
        parameters=3.0,
        multiply_adds=2.0,
        training_minutes=6.0,
        test_minutes=3.0,
        resumed=False,
        versions=dict(torch="2", mmdet="3", machine="made up, 1 thread"),
    )


def trials(entry: Entry, *scores: float | None) -> dict[str, dict]:
    pairs = zip(entry.trials(), scores, strict=False)
    return {trial.name: made_up(trial, score) for trial, score in pairs}


# ------------------------------------------------------------------- the plan


def test_plan_has_every_neck_and_seed_and_one_rate_for_the_curve() -> None:
    planned = recipe.entries()
    for seed in recipe.SEEDS:
        for neck in CURVE:
            assert Entry("tinyperson", neck, seed, "fpn") in planned
        for data in recipe.PREPARATION:
            for neck in NECKS:
                assert Entry(data, neck, seed, neck) in planned


def test_trials_see_no_image_that_results_are_measured_on(tmp_path: Path) -> None:
    for data in recipe.PREPARATION:
        for trial in Entry(data, "fpn", 0, "fpn").trials():
            text = json.dumps(configs.config(trial, tmp_path, tmp_path))
            assert "annotations/choose.json" in text and "annotations/fit.json" in text
            assert "test.json" not in text and "annotations/train.json" not in text


def test_hash_is_that_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    first = configs.recipe_hash(RUN)
    assert configs.recipe_hash(dataclasses.replace(RUN, rate=0.1, seed=7)) == first
    assert configs.recipe_hash(dataclasses.replace(RUN, trial=True)) != first
    assert configs.recipe_hash(dataclasses.replace(RUN, neck="asff")) != first
    config = configs.config

    def changed(change: Callable[[dict], object]) -> str:
        def build(*arguments: object) -> dict:
            settings = config(*arguments)
            change(settings)
            return settings

        with monkeypatch.context() as patch:
            patch.setattr(configs, "config", build)
            return configs.recipe_hash(RUN)

    assert changed(lambda x: x.update(custom_imports=dict(imports=["else"]))) == first
    optimizer = dict(weight_decay=0.1)
    assert changed(lambda x: x["optim_wrapper"]["optimizer"].update(optimizer)) != first


# ------------------------------------------------------------------ the rates


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ((0.2, 0.1), RATES[0]),
        ((0.2, 0.3), RATES[1]),
        ((0.0, None), RATES[0]),  # a diverged trial never wins
        ((None, None), None),
        ((0.2,), None),  # one is still to be run
    ],
)
def test_choice_of_the_rate(scores: tuple, chosen: float | None) -> None:
    entry = Entry("bccd", "drfpn", 0, "drfpn")
    assert results.chosen_rate(trials(entry, *scores), entry) == chosen


def test_results_on_test_images_choose_nothing() -> None:
    entry = Entry("tinyperson", "asff", 0, "asff")
    found = trials(entry, 0.2, 0.1)
    best = dataclasses.replace(entry.trials()[1], trial=False)
    found[best.name] = made_up(best, 0.9)
    assert results.chosen_rate(found, entry) == RATES[0]


def test_results_of_another_recipe_are_left_out(tmp_path: Path) -> None:
    for run, digest in ((RUN, None), (dataclasses.replace(RUN, seed=1), "another")):
        result = made_up(run, 0.5)
        result["recipe"] = digest or result["recipe"]
        results.write_result(tmp_path, result, run.name)
    assert list(results.read_results(tmp_path)) == [RUN.name]


# ------------------------------------------------------------------- the data


def test_videos_that_choose_are_not_fitted(tmp_path: Path) -> None:
    from data import prepare, video_of

    names = [f"bb_V{k:04}_{i}.jpg" for k in range(10) for i in range(3)]
    names += ["google_P000_1.jpg", "bing000_2.jpg"]
    images = [
        dict(id=k, file_name=name, width=64, height=64) for k, name in enumerate(names)
    ]
    boxes = [
        dict(id=k + 1, image_id=k, category_id=1, bbox=[8, 8, 4, 16], area=64)
        for k in range(len(names))
    ]
    coco = dict(
        images=images, annotations=boxes, categories=[dict(id=1, name="person")]
    )
    source, target = tmp_path / "source", tmp_path / "target"
    for split in ("train", "val"):
        (source / split).mkdir(parents=True)
        (source / "annotations").mkdir(exist_ok=True)
        (source / f"annotations/{split}.json").write_text(json.dumps(coco))
        for name in names:
            pixels = np.zeros((64, 64, 3), np.uint8)
            cv2.imwrite(str(source / split / name), pixels)
    prepare("tinyperson", source, target)
    videos = {}
    for part in ("train", "fit", "choose", "test"):
        read = json.loads((target / f"annotations/{part}.json").read_text())
        videos[part] = {video_of(image["file_name"]) for image in read["images"]}
    assert videos["choose"] == {"bb_V0000", "bb_V0005"}
    assert not videos["choose"] & videos["fit"]
    assert videos["choose"] | videos["fit"] == videos["train"]
    assert read["annotations"][0]["bbox"] == pytest.approx([160, 90, 80, 180])
    image = cv2.imread(str(target / "images/test_bb_V0000_0.jpg"))
    assert image.shape == (720, 1280, 3)


# --------------------------------------------------------------- the training


@pytest.mark.parametrize("neck", dict.fromkeys([*NECKS, *CURVE]))
def test_detector_of_every_neck(neck: str) -> None:
    import torch
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules()
    model, _ = configs._detector(Run("bccd", neck, RATES[0]))
    model["backbone"] = dict(
        type="ResNet", depth=18, base_channels=8, norm_cfg=dict(type="BN")
    )
    widths = [8, 16, 32, 64]
    first = model["neck"][0] if isinstance(model["neck"], list) else model["neck"]
    first["in_channels"] = widths
    detector = MODELS.build(model)
    if neck == "s-alpha-fpn":
        detector.neck.fusion_factor.set([0.2, 0.3, 0.7])
    scores, _ = detector.eval()(torch.zeros(1, 3, 64, 96), mode="tensor")
    assert [x.shape[1] for x in scores] == [27] * len(recipe.STRIDES)


def test_diverged_training_is_recorded() -> None:
    import torch
    from modules import StopWhenDiverged

    class Runner:
        iter = 3

    hook = StopWhenDiverged()
    hook.after_train_iter(Runner, 3, outputs=dict(loss=torch.tensor(1.0)))
    with pytest.raises(FloatingPointError, match="step 3"):
        hook.after_train_iter(Runner, 3, outputs=dict(loss=torch.tensor(float("nan"))))


# ------------------------------------------------------------------- the page


def test_page_names_what_was_not_run(tmp_path: Path) -> None:
    found = {}
    for neck in ("fpn", "s-alpha-fpn"):
        found |= trials(Entry("tinyperson", neck, 0, neck), 0.2, 0.1)
        for seed, score in ((0, 0.31), (1, 0.33)):
            run = Run("tinyperson", neck, RATES[0], seed)
            gain = 0.02 if neck == "s-alpha-fpn" else 0.0
            found[run.name] = made_up(run, score + gain)
    found |= trials(Entry("tinyperson", "drfpn", 0, "drfpn"), None, None)
    for name, result in found.items():
        results.write_result(tmp_path / "results", result, name)
    report.write_page(tmp_path / "results", tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert (tmp_path / "results/curve.png").stat().st_size > 5000
    assert "not with all seeds yet: S-α FPN +2.0±0.0." in text
    assert "**BCCD** (AP50 over FPN with the same seed): not run yet." in text
    assert "| S-α, released statistic: 0.20, 0.30, 0.70 | 2 | 34.0±1.4 |" in text
    assert "| DRFPN | diverged, diverged | diverged with every rate |" in text
    for name in ("PAFPN", "CFG-FPN, rank 32", "FPN + ASFF", "AugFPN"):
        assert text.count(f"| {name} | not run yet, not run yet | not run yet |") == 2


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.02, 0.01, 0.03), "better with every seed: S-α FPN +2.0±1.0; neither"),
        ((0.02, -0.01, 0.03), "every seed; neither: PAFPN +0.0±0.0, S-α FPN +1.3"),
        ((-0.02, -0.01, -0.03), "; worse with every seed: S-α FPN -2.0±1.0."),
    ],
)
def test_verdicts(gains: tuple[float, ...], said: str) -> None:
    found = {}
    for neck in ("fpn", "pafpn", "s-alpha-fpn"):
        found |= trials(Entry("tinyperson", neck, 0, neck), 0.2, 0.1)
        for seed, gain in enumerate(gains):
            run = Run("tinyperson", neck, RATES[0], seed)
            found[run.name] = made_up(run, 0.3 + gain * (neck == "s-alpha-fpn"))
    assert said in report.answer(found)


def test_page_is_what_the_results_give() -> None:
    found = results.read_results(DOCS / "results")
    assert (DOCS / "results.md").read_text(encoding="utf-8") == report.page(found)


def test_readme_says_what_the_results_give() -> None:
    found = results.read_results(DOCS / "results")
    means, worse = {}, set()
    for neck in NECKS:
        if neck != "fpn":
            gains = report.differences(found, Entry("tinyperson", neck, 0, neck))
            others = report.differences(found, Entry("bccd", neck, 0, neck))
            assert min(others.values()) <= 0
            assert len(gains) == len(recipe.SEEDS)
            means[neck] = sum(gains.values()) / len(gains)
            worse |= {neck} if means[neck] < 0 else set()
            assert (min(gains.values()) > 0) == (neck == "augfpn")
    assert len(worse) == 2
    for neck in CURVE:
        gains = report.differences(found, report.curve_entry(neck)).values()
        assert neck == "fpn" or sum(gains) > 0
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert f"with all three seeds (+{means['augfpn']:.1f} AP50 tiny)" in text
    assert "two necks lose. On blood cells none wins." in text
