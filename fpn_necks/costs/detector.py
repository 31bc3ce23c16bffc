"""A detector to measure: random weights, random images, as many boxes as wanted."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..config_tools import set_statistic_factors, type_name, walk
from .count import count_parameters
from .stages import BACKBONE, HEAD, NECK, STAGES, split_by_stage

AUXILIARY = "auxiliary losses"
"""Parameters of training only: of a detector ``Auxiliary<Name>``."""


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
        shape = (config.model.backbone.get("in_channels", 3), *size)
        masks = getattr(self.model, "with_mask", False)
        batch = demo_mm_inputs(images, shape, [8] * images, with_mask=masks)
        for sample in batch["data_samples"]:
            sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
            sample.gt_instances.labels.zero_()
            sample.ignored_instances = sample.gt_instances[:0]
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

    def let_boxes_through(self, wanted: int) -> None:
        """Set the score threshold so that about so many boxes per image are found.

        With a config's own threshold an untrained detector finds nothing, or as much as
        it may return: post-processing has nothing or everything to do, and a mask head
        behind it does not run at all. Instead the threshold becomes the score of the
        first box too many; a detector without threshold stays as it is.
        """
        configs = [
            module.test_cfg
            for name, module in self.model.named_modules()
            if "score_thr" in (getattr(module, "test_cfg", None) or ())
            and not name.startswith("auxiliary")
        ]
        for config in configs:
            config["score_thr"] = 0.0
        found = [sample.pred_instances.scores for sample in self.infer()]
        scores = torch.cat(found).sort(descending=True).values
        for config in configs:
            # Where scores are multiplied behind the threshold, the number limits them.
            config["max_per_img"] = min(wanted, config.get("max_per_img", wanted))
            if len(scores) > wanted * len(found):
                config["score_thr"] = scores[wanted * len(found)].item()

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
            counts = self._by_stage(counter.get_total_flops)
        return {stage: int(count) // 2 for stage, count in counts.items()}

    def time_inference(self, clock: Callable[[], float]) -> dict[str, float]:
        """Return the seconds of each stage, by a clock; a GPU is waited for."""

        def read() -> float:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            return clock()

        return self._by_stage(read)

    def _by_stage(self, read: Callable[[], float]) -> dict[str, float]:
        with split_by_stage(self.model, read) as totals:
            self.infer()
        return {stage: totals[stage] for stage in STAGES if stage in totals}


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _build(config: Mapping[str, Any]) -> nn.Module:
    settings = copy.deepcopy(config)
    if settings.get("data_preprocessor"):
        # They would change the size of the images, or need other images.
        settings["data_preprocessor"]["batch_augments"] = None
    for _, node in walk(settings):
        if type_name(node.get("init_cfg")).startswith("Pretrained"):
            node["init_cfg"] = None
    # mmengine's base model looks for the preprocessor in the scope of the moment.
    model = MODELS.build(ConfigDict(settings, _scope_="mmdet"))
    set_statistic_factors(model)
    model.init_weights()
    return model


def _optimiser(config: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    settings = copy.deepcopy(dict(config))
    settings["optimizer"]["lr"] = 0.0
    # Every step is to be a whole one.
    settings.pop("accumulative_counts", None)
    if device.type == "cpu":  # mmengine's mixed precision is for GPUs
        settings = dict(type="OptimWrapper", optimizer=settings["optimizer"])
    return settings
