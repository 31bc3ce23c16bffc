"""Benchmarks: necks beside mmdet's FPN, whole detectors beside the first, as tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import Tensor, nn

from .configs import read_config_argument
from .count import count_multiply_adds, count_parameters
from .detector import MeasuredDetector
from .tables import WHOLE, Cost
from .timing import PairedTimes, compare_times, measure_in_turns, peak_memory

TRAINING = "training step"
CHANNELS = [256, 512, 1024, 2048]  # of ResNet-50
PYRAMIDS: dict[str, dict[str, Any]] = {
    # As mmdet's Faster R-CNN, RetinaNet and FCOS have them.
    "faster-rcnn": dict(num_outs=5),
    "retinanet": dict(num_outs=5, start_level=1, add_extra_convs="on_input"),
    "fcos": dict(
        num_outs=5,
        start_level=1,
        add_extra_convs="on_output",
        relu_before_extra_convs=True,
    ),
}
BASE = "FPN (mmdet)"
# What follows a neck in a list refines its maps.
NECKS: dict[str, list[dict[str, Any]]] = {
    BASE: [dict(type="FPN")],
    "PAFPN (mmdet)": [dict(type="PAFPN")],
    "S-α FPN": [dict(type="SAlphaFPN", fusion_factor=0.5)],
    "CFG-FPN, 1 stage": [dict(type="CFGFPN", cascade_times=1)],
    "CFG-FPN, 1 stage, rank 32": [dict(type="CFGFPN", cascade_times=1, rank=32)],
    "CFG-FPN, 3 stages (default)": [dict(type="CFGFPN")],
    "CFG-FPN, 3 stages, rank 32": [dict(type="CFGFPN", rank=32)],
    "FPN + ASFF": [dict(type="FPN"), dict(type="ASFF")],
    "AugFPN": [dict(type="AugFPN")],
    "DRFPN": [dict(type="DRFPN")],
}
# Method, step, the paper's numbers without and with it, unit, source and setting.
# "two-stage" and "one-stage" are of such detectors alone.
CLAIMS: tuple[tuple[str, str, float, float, str, str], ...] = (
    ("AugFPN", WHOLE, 13.4, 11.1, "fps", "Sec. 4.5: Faster R-CNN R-50, V100"),
    ("AugFPN + auxiliary", TRAINING, 0.9, 1.1, "h per epoch", "Sec. 4.5"),
    ("DRFPN", WHOLE, 12.2, 12.4, "ms", "Sec. 4: R-50, RTX Titan"),
    ("DRFPN", TRAINING, 1.14, 1.37, "s per iteration", "Sec. 4: Faster R-CNN R-50"),
    ("ASFF", WHOLE, 50, 46, "fps", "Table 3: YOLOv3 at 608x608, V100"),
    *(
        (f"CFGFPN {stages}, {kind}", WHOLE, base, rate, "fps", f"Table 2: {detector}")
        for kind, detector, base, rates in (
            ("two-stage", "Faster R-CNN R-101, Titan Xp", 15.6, (12.0, 11.4, 10.9)),
            ("one-stage", "RetinaNet R-101, Titan Xp", 15.0, (12.2, 11.7, 11.1)),
        )
        for stages, rate in enumerate(rates, 1)
    ),
)


def benchmark(
    configs: Sequence[str] = (),
    titles: Sequence[str] | None = None,
    size: tuple[int, int] = (800, 1344),
    batch: int = 1,
    device: str = "cpu",
    pairs: int = 15,
    boxes: int = 80,
    train: bool = True,
    necks: Sequence[str] | None = None,
    pyramid: str = "faster-rcnn",
    say: Callable[[str], None] = lambda line: None,
) -> tuple[str, list[Cost]]:
    """Measure necks beside mmdet's FPN, or whole detectors beside the first, in turns.

    Weights and images are random: no data set and no download is needed.

    Args:
        configs: As of ``read_config_argument``; none: the necks of ``NECKS``.
        titles: One per config; default: their names and changes.
        size: (height, width) of the images in pixels.
        batch: Images per batch.
        device: ``cpu`` or ``cuda``.
        pairs: Runs per ratio.
        boxes: See ``let_boxes_through``; 0: the config's own threshold.
        train: Measure a training step of detectors as well.
        necks: Only necks whose name has one of these words.
        pyramid: One of ``PYRAMIDS``: the levels of the necks.
        say: Gets a line per step.

    Returns:
        How it was measured, in words, and the costs.

    Raises:
        LookupError: There is no such config.
        ValueError: A config cannot be read, built or measured, or no neck's name has a
            word.
    """
    register_all_modules(init_default_scope=True)
    where = device
    if torch.device(device).type == "cuda":
        where = torch.cuda.get_device_name(device)
    elif torch.get_num_threads() == 1:
        where = "one processor thread, processor time"
    setting = (
        f"torch {torch.__version__}, {size[0]}x{size[1]}, batch {batch}, {where}, "
        f"random weights and images; medians of {pairs} runs of each in turns, x: "
        "ratio to the first, in brackets its 95 % interval"
    )
    if not configs:
        maps = [
            torch.randn(batch, c, *(-(-side // 2 ** (2 + i)) for side in size))
            for i, c in enumerate(CHANNELS)
        ]
        maps = [x.to(device).requires_grad_() for x in maps]
        return setting, list(_measure_necks(maps, necks, pyramid, pairs, say))
    detectors, models, names = [], [], []
    for text in configs:
        title, config, left_out = read_config_argument(text)
        say(f"building {title}")
        if left_out:
            say(f"  without {', '.join(left_out)}: the new type does not take it")
        names.append(title)
        models.append(config.model)
        try:
            detector = MeasuredDetector(config, size, batch, device, train)
            if train:
                detector.train_step()
            if boxes:
                detector.let_boxes_through(boxes)
            detectors.append(detector)
        # A detector is a program, and can fail in any way.
        except Exception as error:
            raise ValueError(
                f"the detector of {title} cannot be measured: "
                f"{type(error).__name__}: {error}"
            ) from error
    costs = measure_detectors(detectors, titles or names, pairs, train, say)
    claims = [tuple(claims_of(model, models[0])) for model in models]
    found = zip(costs, claims, strict=True)
    return setting, [replace(cost, claims=texts) for cost, texts in found]


def build_neck(
    stages: Sequence[Mapping[str, Any]], pyramid: Mapping[str, Any], width: int = 256
) -> nn.Module:
    """Build a neck of these stages on a ResNet-50's maps, for evaluation."""
    first = {**dict(in_channels=CHANNELS, out_channels=width), **pyramid, **stages[0]}
    widths = dict(in_channels=width, out_channels=width)
    built = [MODELS.build(first)]
    built += [MODELS.build({**stage, **widths}) for stage in stages[1:]]
    return nn.Sequential(*built).eval()


def _measure_necks(
    maps: list[Tensor],
    words: Sequence[str] | None,
    pyramid: str,
    pairs: int,
    say: Callable[[str], None],
) -> Iterator[Cost]:
    for word in words or ():
        if not any(word in name for name in NECKS):
            raise ValueError(f"no neck's name has {word!r}: {'; '.join(NECKS)}")
    base = build_neck(NECKS[BASE], PYRAMIDS[pyramid]).to(maps[0].device)
    for name, stages in NECKS.items():
        if name != BASE and words and not any(word in name for word in words):
            continue
        say(f"measuring {name}")
        neck = build_neck(stages, PYRAMIDS[pyramid]).to(maps[0].device)
        yield _measure_neck(name, base, neck, maps, pairs)


def _measure_neck(
    title: str, base: nn.Module, neck: nn.Module, maps: list[Tensor], pairs: int
) -> Cost:
    def forward(neck: nn.Module) -> None:
        with torch.no_grad():
            neck(maps)

    def both(neck: nn.Module) -> None:
        sum(output.sum() for output in neck(maps)).backward()
        # At the end: what the next run frees would count as memory that it gave back.
        neck.zero_grad(set_to_none=True)
        for x in maps:
            x.grad = None

    device = maps[0].device
    return Cost(
        title,
        {WHOLE: count_parameters(neck)},
        {WHOLE: count_multiply_adds(neck, maps)},
        {
            name: compare_times(
                lambda run=run: run(base),
                lambda run=run: run(neck),
                *(pairs, device, _clock(device)),
            )
            for name, run in (("forward", forward), ("forward + backward", both))
        },
        {"forward + backward": peak_memory(lambda: both(neck), device)},
    )


def _clock(device: torch.device) -> Callable[[], float]:
    # What other processes take is left out where that can be told apart.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def measure_detectors(
    detectors: Sequence[MeasuredDetector],
    titles: Sequence[str],
    rounds: int,
    train: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> list[Cost]:
    """Measure detectors, each timed `rounds` times in turns, beside the first."""
    clock = _clock(detectors[0].device)
    say("times of inference")
    for detector in detectors:
        detector.infer()
    inference = [lambda d=d: d.time_inference(clock) for d in detectors]
    runs = measure_in_turns(inference, rounds)
    say("counts and memory of inference")
    counts = [(d.parameters(), d.multiply_adds()) for d in detectors]
    memory = [d.inference_memory() for d in detectors]
    steps: list[list[float]] = []
    if train:  # behind all of inference: normalisation gathers statistics meanwhile
        say("times and memory of training")
        for detector in detectors:
            detector.train_step()  # the first one makes the optimiser's state
        training = [lambda d=d: d.time_train_step(clock) for d in detectors]
        steps = measure_in_turns(training, rounds)
    for run in (run for own in runs for run in own):
        run[WHOLE] = sum(run.values())
    costs = []
    for i, detector in enumerate(detectors):
        # What the first detector has not takes it no time.
        times = {
            stage: PairedTimes(
                tuple(run.get(stage, 0.0) for run in runs[0]),
                tuple(run[stage] for run in runs[i]),
            )
            for stage in (*detector.stages, WHOLE)
        }
        peaks = memory[i] | {WHOLE: max(memory[i].values())}
        if train:
            times[TRAINING] = PairedTimes(tuple(steps[0]), tuple(steps[i]))
            peaks[TRAINING] = detector.training_memory()
        parameters, counted = ({**c, WHOLE: sum(c.values())} for c in counts[i])
        costs.append(Cost(titles[i], parameters, counted, times, peaks))
    return costs


def claims_of(model: Config, base: Config) -> Iterator[tuple[str, str, float]]:
    """Yield step, numbers and time ratio that a paper gives for what base has not."""
    necks = [model.get("neck") or [], base.get("neck") or []]
    stages, known = ([n] if isinstance(n, Mapping) else n for n in necks)
    ours = [
        stage
        for stage in stages
        if stage not in known and stage["type"] in ("AugFPN", "DRFPN", "ASFF", "CFGFPN")
    ]
    if len(ours) != 1:
        return  # of two changes at once no paper says anything
    (stage,) = ours
    name = stage["type"]
    if name == "CFGFPN":
        kind = "one-stage" if model.get("rpn_head") is None else "two-stage"
        name = f"CFGFPN {stage.get('cascade_times', 3)}, {kind}"
    auxiliary = bool(model.get("auxiliary")) and not base.get("auxiliary")
    for method, step, old, new, unit, source in CLAIMS:
        trained_as = f"{name} + auxiliary" if auxiliary else name
        if method == (name if step == WHOLE else trained_as):
            ratio = old / new if unit == "fps" else new / old
            yield step, f"{old:g} → {new:g} {unit} ({source})", ratio
