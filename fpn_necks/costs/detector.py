"""A detector to measure: random weights, random images, as many boxes as wanted."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config, ConfigDict
from mmengine.model import ImgDataPreprocessor
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..config_tools import set_statistic_factors
from .count import count_parameters
from .stages import BACKBONE, HEAD, NECK, STAGES, cut_by_stage, record_post_processing
from .timing import peak_memory, peaks_of_segments, seconds_of

AUXILIARY = "auxiliary losses"
"""Parameters of training only: of a detector ``Auxiliary<Name>``."""
LOWEST_LOGIT, HALVINGS, TOLERANCE = -16.0, 40, 1.08
"""Of the score threshold's search; the last is a factor on the number of boxes."""


class MeasuredDetector:
    """A detector of mmdet with random weights, on random images.

    Args:
        config: of a whole run; it stays as it is. Neither data nor weights are loaded.
        size: (height, width) of the images in pixels; padded as the config says.
        images: number of images per batch.
        device: where it computes.
        train: prepare for steps of training.
        seed: of weights and images; equal configs get equal ones.

    Raises:
        ValueError: the config has no detector, or no optimiser to ``train`` it with.
        Exception: whatever the detector's constructor raises.
    """

    def __init__(
        self,
        config: Config,
        size: tuple[int, int],
        images: int = 1,
        device: str | torch.device = "cpu",
        train: bool = True,
        seed: int = 0,
    ) -> None:
        if not config.get("model"):
            raise ValueError("the config has no model")
        if train and not config.get("optim_wrapper"):
            raise ValueError("the config has no optim_wrapper to train with")
        self.device = torch.device(device)
        self.seed = seed
        with _seeded(seed, self.device):
            self.model = _build(config.model).to(self.device)
        if not isinstance(getattr(self.model, BACKBONE, None), nn.Module):
            raise ValueError(
                f"a {type(self.model).__name__} has no backbone to measure"
            )
        # Of the first convolution; 3 without one.
        convs = (m for m in self.model.backbone.modules() if isinstance(m, nn.Conv2d))
        channels = getattr(next(convs, None), "in_channels", 3)
        loads_masks = "'with_mask': True" in str(config.get("train_dataloader"))
        batch = random_batch(
            (channels, *size),
            images,
            _num_classes(self.model),
            loads_masks or getattr(self.model, "with_mask", False),
        )
        if not isinstance(self.model.data_preprocessor, ImgDataPreprocessor):
            batch["inputs"] = [image.float() for image in batch["inputs"]]
        # As in training, since truths are padded then; padding of images is the same.
        prepared = self.model.data_preprocessor(batch, True)
        self.inputs: torch.Tensor = prepared["inputs"]
        self.samples: list[DetDataSample] = prepared["data_samples"]
        self.optim_wrapper = None
        if train:
            settings = _optimiser(config.optim_wrapper, self.device)
            self.optim_wrapper = build_optim_wrapper(self.model, settings)
        self.model.eval()

    def infer(self) -> list[DetDataSample]:
        """Find boxes: from normalised images to boxes of the images' own size."""
        self.model.eval()
        samples = [
            DetDataSample(metainfo=sample.metainfo.copy()) for sample in self.samples
        ]
        with _seeded(self.seed, self.device), torch.no_grad():
            return self.model(self.inputs, samples, mode="predict")

    def let_boxes_through(self, wanted: int) -> float | None:
        """Set the score threshold so that about so many boxes per image are found.

        With a config's own threshold an untrained detector finds nothing, or as much as
        it may return: post-processing has nothing or everything to do, and a mask head
        behind it does not run at all. At most 90 % of ``max_per_img`` are let through,
        since beyond it nobody sees how many boxes there are.

        Returns:
            The threshold, or ``None`` where the detector has none: it always returns
            the same number of boxes.
        """
        configs = [
            module.test_cfg
            for name, module in self.model.named_modules()
            if "score_thr" in (getattr(module, "test_cfg", None) or ())
            and not name.startswith("auxiliary")
        ]
        with record_post_processing(self.model) as calls:
            self.infer()
        if not configs or not calls:
            return None
        repeat = calls[0][0]  # the post-processing of boxes; masks come behind them
        limits = [config.get("max_per_img", math.inf) for config in configs]
        wanted = max(min(wanted, math.floor(0.9 * min(limits))), 1)

        def number_at(logit: float) -> float:
            for config in configs:
                config["score_thr"] = 1 / (1 + math.exp(-logit))
            with torch.no_grad():
                return statistics.fmean(map(len, repeat()))

        # Downwards first: low thresholds are slow. Untrained scores are much alike.
        low, step = 0.0, 0.5
        while (number := number_at(low)) < wanted and low > LOWEST_LOGIT:
            low -= step
        high = low + step
        for _ in range(HALVINGS):
            if wanted / TOLERANCE <= number <= TOLERANCE * wanted:
                break
            middle = (low + high) / 2
            number = number_at(middle)
            low, high = (middle, high) if number > wanted else (low, middle)
        return configs[0]["score_thr"]

    def train_step(self) -> None:
        """Do an iteration of training: losses, gradients and the optimiser's step.

        The rate of learning is 0: the same work, but the weights stay.
        """
        self.model.train()
        # What is sampled at random must not differ from step to step.
        precision = self.optim_wrapper.optim_context(self.model)
        with _seeded(self.seed, self.device), precision:
            losses = self.model(self.inputs, self.samples, mode="loss")
            total, _ = self.model.parse_losses(losses)
        if not total.isfinite():
            raise ValueError(f"the losses of an untrained detector are {total.item()}")
        self.optim_wrapper.update_params(total)

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The stages of an inference: not every detector has a neck, say."""
        with cut_by_stage(self.model, lambda: None) as segments:
            self.infer()
        return tuple(stage for stage in STAGES if stage in segments.owners)

    def parameters(self) -> dict[str, int]:
        """Count the parameters of backbone, neck, head, and of training only."""
        parts = {BACKBONE: BACKBONE, NECK: NECK, "auxiliary": AUXILIARY}
        counts = {
            stage: count_parameters(module)
            for name, stage in parts.items()
            if isinstance(module := getattr(self.model, name, None), nn.Module)
        }
        counts[HEAD] = count_parameters(self.model) - sum(counts.values())
        return counts

    def multiply_adds(self) -> dict[str, int]:
        """Count the multiply-adds of each stage of inference.

        As ``count_multiply_adds`` counts them, but of a real run, since the boxes that
        a detector finds decide what a second stage has to do. Compiled operators
        (deformable convs, RoI pooling, NMS) are left out.
        """
        with FlopCounterMode(display=False) as counter:
            with cut_by_stage(self.model, counter.get_total_flops) as segments:
                self.infer()
        totals = segments.add_up(lambda start, end: end - start)
        return {stage: int(totals[stage]) // 2 for stage in self.stages}

    def time_inference(self, clock: Callable[[], float]) -> dict[str, float]:
        """Return the seconds of each stage, by a clock; on a GPU by its own."""
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.synchronize(self.device)
        with cut_by_stage(self.model, self._event if on_gpu else clock) as segments:
            self.infer()
        if on_gpu:
            torch.cuda.synchronize(self.device)
            totals = segments.add_up(lambda start, end: start.elapsed_time(end) / 1e3)
        else:
            totals = segments.add_up(lambda start, end: end - start)
        return {stage: totals[stage] for stage in self.stages}

    def time_train_step(self, clock: Callable[[], float]) -> float:
        """Return the seconds of a step of training, by a clock; a GPU is waited for."""
        return seconds_of(self.train_step, self.device, clock)

    def inference_memory(self) -> dict[str, int]:
        """Return the most bytes held while each stage is at work, beyond those before.

        What earlier stages hand over counts: the largest number is the inference's.
        """
        owners: list[str] = []

        def run(cut: Callable[[], None]) -> None:
            with cut_by_stage(self.model, cut) as segments:
                self.infer()
            owners[:] = segments.owners

        # The first cut is the beginning of the first segment, the last its end.
        peaks = peaks_of_segments(run, self.device)[1:-1]
        most = dict.fromkeys(self.stages, 0)
        for owner, peak in zip(owners, peaks, strict=True):
            most[owner] = max(most.get(owner, 0), peak)
        return {stage: most[stage] for stage in self.stages}

    def training_memory(self) -> int:
        """Return the most bytes of a step, beyond what is held before it."""
        return peak_memory(self.train_step, self.device)

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _build(config: Mapping[str, Any]) -> nn.Module:
    settings = copy.deepcopy(config)
    preprocessor = settings.get("data_preprocessor")
    if preprocessor:
        # They would change the size of the images, or need other images.
        preprocessor["batch_augments"] = None
    # mmengine's base model looks for the preprocessor in the scope of the moment.
    model = MODELS.build(ConfigDict(settings, _scope_="mmdet"))
    for module in model.modules():
        found = getattr(module, "init_cfg", None) or []
        found = found if isinstance(found, list | tuple) else [found]
        if any(entry.get("type") == "Pretrained" for entry in found):
            module.init_cfg = [e for e in found if e.get("type") != "Pretrained"]
    set_statistic_factors(model)
    model.init_weights()
    return model


def _num_classes(model: nn.Module) -> int:
    counts = [
        module.num_classes
        for name, module in model.named_modules()
        if isinstance(getattr(module, "num_classes", None), int)
        and not name.startswith("rpn_head")
    ]
    return max(min(counts, default=1), 1)


def random_batch(
    shape: tuple[int, int, int], images: int, num_classes: int, masks: bool
) -> dict[str, list[Any]]:
    """Return random images, ``(C, H, W)``, with eight random boxes each."""
    boxes = [8] * images
    batch = demo_mm_inputs(images, shape, boxes, num_classes + 1, with_mask=masks)
    for sample in batch["data_samples"]:
        sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
        sample.gt_instances.labels %= num_classes
        sample.ignored_instances = sample.gt_instances[:0]
    return batch


def _optimiser(config: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    settings = copy.deepcopy(dict(config))
    settings["optimizer"]["lr"] = 0.0
    # Every step is to be a whole one.
    settings.pop("accumulative_counts", None)
    if settings.get("type") == "AmpOptimWrapper" and device.type == "cpu":
        # mmengine's mixed precision is for GPUs.
        for name in ("loss_scale", "dtype", "use_fsdp"):
            settings.pop(name, None)
        settings["type"] = "OptimWrapper"
    return settings
