"""Auxiliary supervision at every location: each map answers for all of the pyramid."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from mmdet.models.dense_heads import AnchorHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.model import BaseModule, ModuleDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from fpn_necks.layers import check_int

from .features import SupervisedLevel
from .form import AuxiliaryForm, check_strides
from .recording import record_calls, record_outputs, replaying, targets_of_levels
from .uncertainty import KINDS, UncertaintyRows, add_uncertainty

Settings = Mapping[str, Any]


@MODELS.register_module()
class DenseAuxiliary(AuxiliaryForm):
    """Let backbone maps of a one-stage detector predict objects of all sizes.

    Jin et al., "You Should Look at All Objects", ECCV 2022 (arXiv 2207.07889), Sec. 3.4
    and 4.1, Eq. 8 to 11. From each supervised C_i a 1x1 conv and a ReLU (f_pre) make a
    map that is resized to each of the detector's own strides: averaged where the stride
    is larger, repeated where it is smaller. On it 1x1 convs, shared by the strides,
    predict what the detector's own head predicts, against the targets that this head
    has computed. How one map meets targets of several strides is our decision, and so
    is the ReLU, without which f_pre and the convs behind it would be one linear map.

    Works with mmdet's dense heads whose losses come from a ``get_targets`` and that
    have ``stacked_convs``: RetinaNet, FCOS, ATSS, GFL, ... Uncertainty (Eq. 10 and 11)
    needs a head whose classification losses come before its box losses: not GFL. Other
    heads are refused here or at the first loss.

    Args:
        detector: the built detector, to look at.
        settings: config of the detector.
        levels: maps to supervise; C_2 to C_4 in the paper.
        feature_channels: width of f_pre.
        strides: those of the detector's strides that are supervised; ``None``: all. The
            finest stride takes three quarters of the memory.
        with_cp: compute what belongs to one map anew in the backward pass instead of
            keeping it, which saves most of the memory of these losses; of heads whose
            losses need other processes (not RetinaNet's) the predictions alone.
        **kwargs: ``in_channels``, ``first_level``, ``loss_weight`` and
            ``uncertainty_weight`` of ``AuxiliaryForm``.
    """

    def __init__(
        self,
        detector: nn.Module,
        settings: Settings,
        levels: Sequence[str] | str = ("c2", "c3", "c4"),
        feature_channels: int = 256,
        strides: Sequence[int] | None = None,
        with_cp: bool = True,
        **kwargs: Any,
    ) -> None:
        if settings.get("bbox_head") is None:
            raise ValueError(
                "DenseAuxiliary needs a one-stage detector with a bbox_head; "
                "RoIAuxiliary is for two stages"
            )
        super().__init__(detector, settings, levels, with_cp=with_cp, **kwargs)
        check_int("feature_channels", feature_channels)
        head = detector.bbox_head
        for name in ("prior_generator", "get_targets"):
            if not hasattr(head, name):
                raise ValueError(
                    f"DenseAuxiliary needs a head with {name}, and "
                    f"{type(head).__name__} has none"
                )
        own = [stride[0] for stride in head.prior_generator.strides]
        self.num_strides = len(own)
        self.stride_places = _places(strides, own)
        self.strides = [own[i] for i in self.stride_places]
        # Heads such as FCOS average their positives over all processes: done anew in
        # the backward pass, that would get in the way of the gradients' own exchange.
        self._losses_stay_in_process = all(
            getattr(type(head), name, None) is getattr(AnchorHead, name)
            for name in ("loss_by_feat", "loss_by_feat_single")
        )
        config = dict(
            settings["bbox_head"],
            type=type(head),
            in_channels=feature_channels,
            feat_channels=feature_channels,
            stacked_convs=0,
            train_cfg=settings.get("train_cfg"),
            test_cfg=settings.get("test_cfg"),
        )
        if self.strides != own:
            owner = config
            if "strides" in config.get("anchor_generator", {}):
                owner = config["anchor_generator"] = dict(config["anchor_generator"])
            owner["strides"] = self.strides
        uncertain = self.uncertainty_weight is not None
        self.predictors = ModuleDict(
            {
                level.name: LevelPredictor(
                    level, self.strides, config, feature_channels, uncertain
                )
                for level in self.levels
            }
        )

    def extra_repr(self) -> str:
        """Name what no module below shows."""
        return f"{super().extra_repr()}, strides={self.strides}"

    @contextmanager
    def recording(self, detector: nn.Module) -> Iterator[dict[str, list]]:
        """Keep what the dense head predicts and its targets."""
        head = detector.bbox_head
        with (
            record_outputs(head) as outputs,
            record_calls(head, "get_targets") as targets,
        ):
            yield dict(outputs=outputs, targets=targets)

    def loss(
        self,
        detector: nn.Module,
        features: Mapping[str, Tensor],
        recorded: Mapping[str, list],
        samples: Sequence[InstanceData],
    ) -> dict[str, Tensor]:
        """Compute the auxiliary losses, see ``AuxiliaryForm.loss``."""
        check_strides(self.levels, features, samples[0].metainfo["batch_input_shape"])
        scores = recorded["outputs"][0][0]
        sizes = [tuple(scores[i].shape[-2:]) for i in self.stride_places]
        name = type(detector.bbox_head).__name__
        if len(recorded["targets"]) != 1:
            raise ValueError(
                "DenseAuxiliary needs a head whose losses come from one call of its "
                f"get_targets; {name}'s made {len(recorded['targets'])}"
            )
        targets = targets_of_levels(
            recorded["targets"][0], self.stride_places, self.num_strides, name
        )
        losses: dict[str, Tensor] = {}
        for level in self.levels:
            arguments = (level.name, features[level.name], sizes, targets, samples)
            if self._losses_stay_in_process:
                losses |= self.run(self._level_losses, *arguments)
            else:
                losses |= self._level_losses(*arguments)
        return losses

    def _level_losses(
        self,
        name: str,
        x: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: tuple,
        samples: Sequence[InstanceData],
    ) -> dict[str, Tensor]:
        predictor = self.predictors[name]
        truths, ignored, metas = unpack_gt_instances(samples)
        if self._losses_stay_in_process:
            outputs = predictor(x, sizes)
        else:
            outputs = self.run(predictor, x, sizes)
        with replaying(predictor.head, targets):
            found = predictor.head.loss_by_feat(*outputs, truths, metas, ignored)
        losses = {}
        for key, loss in found.items():
            if "loss" in key:
                total = sum(loss) if isinstance(loss, list | tuple) else loss
                losses[f"aux.{key}.{name}"] = self.loss_weight * total
        if predictor.uncertainty is not None:
            losses |= self.uncertainty_losses(predictor.rows, name)
        return losses


class LevelPredictor(BaseModule):
    """f_pre, and a head of 1x1 convs that sees it at the detector's strides."""

    def __init__(
        self,
        level: SupervisedLevel,
        strides: Sequence[int],
        config: Settings,
        channels: int,
        uncertain: bool,
    ) -> None:
        pre_conv = dict(type="Xavier", distribution="uniform")
        super().__init__(init_cfg={**pre_conv, "override": {"name": "pre_conv"}})
        self.scales = [stride / level.stride for stride in strides]
        self.pre_conv = nn.Conv2d(level.channels, channels, 1)
        self.head = _one_by_one_head(config, channels)
        self.uncertainty = None
        if uncertain:
            anchors = getattr(self.head, "num_base_priors", 1)
            self.rows = UncertaintyRows(self.head.num_classes, anchors)
            widths = dict.fromkeys(KINDS, channels)
            self.uncertainty = add_uncertainty(self.head, self.rows, widths, dense=True)

    def forward(self, x: Tensor, sizes: Sequence[tuple[int, int]]) -> tuple:
        """Predict from ``(N, C, H, W)`` what the head returns, at each of the sizes."""
        maps = self.maps(x, sizes)
        if self.uncertainty is not None:
            alphas = [[self.uncertainty[kind](y) for y in maps] for kind in KINDS]
            self.rows.start(*alphas)
        return self.head(tuple(maps))

    def maps(self, x: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return what the head sees: f_pre of ``x`` at each of the sizes."""
        x = self.pre_conv(x).relu()
        pairs = zip(sizes, self.scales, strict=True)
        return [resize(x, size, scale) for size, scale in pairs]


def _one_by_one_head(config: Settings, channels: int) -> nn.Module:
    """Build a head whose predictions are 1x1 convs of maps of this width."""
    name = config["type"].__name__
    try:
        head = MODELS.build(copy.deepcopy(dict(config)))
    except Exception as error:
        raise ValueError(
            "DenseAuxiliary needs a head that can have stacked_convs=0; "
            f"{name} cannot: {error}"
        ) from error
    for key, conv in list(head.named_children()):
        if isinstance(conv, nn.Conv2d):
            setattr(head, key, nn.Conv2d(channels, conv.out_channels, 1))
    further = [
        key
        for key, weight in head.named_parameters()
        if weight.dim() == 4 and tuple(weight.shape[2:]) != (1, 1)
    ]
    if further:
        raise ValueError(
            "DenseAuxiliary needs a head that predicts by single convs behind its "
            f"stacked convs; {name} also has {', '.join(further)}"
        )
    return head


def resize(x: Tensor, size: tuple[int, int], scale: float) -> Tensor:
    """Average a map down, or repeat its cells, to another stride.

    Cells keep their place: a cell of stride 16 is the mean of the up to four cells of
    stride 8 that it covers, at odd borders of those that exist.

    Args:
        x: ``(N, C, H, W)``.
        size: height and width of the result.
        scale: its stride divided by that of the map.
    """
    if scale > 1:
        step = round(scale)
        x = F.avg_pool2d(x, step, step, ceil_mode=True, count_include_pad=False)
    elif scale < 1:
        x = F.interpolate(x, scale_factor=round(1 / scale), mode="nearest")
        x = x[..., : size[0], : size[1]]
    if tuple(x.shape[-2:]) != tuple(size):
        # Necks and backbones that round a side down where another rounds it up.
        x = F.interpolate(x, size=size, mode="nearest")
    return x


def _places(strides: Sequence[int] | None, own: list[int]) -> list[int]:
    if strides is None:
        return list(range(len(own)))
    unknown = [stride for stride in strides if stride not in own]
    if unknown or not strides or len(set(strides)) != len(strides):
        raise ValueError(
            f"strides must be different ones of the detector's {own}, got {strides!r}"
        )
    return sorted(own.index(stride) for stride in strides)
