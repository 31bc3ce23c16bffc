"""Auxiliary supervision by RoIs: each supervised map predicts the detector's RoIs."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.model import ModuleList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from fpn_necks.layers import check_choice, check_int
from fpn_necks.roi_extractors import AllLevelRoIExtractor, original_levels

from .form import AuxiliaryForm, check_strides
from .proposals import DecodedProposals, check_head
from .recording import record_calls, record_inputs, record_outputs
from .uncertainty import KINDS, UncertaintyRows, add_uncertainty

Settings = Mapping[str, Any]
XAVIER_UNIFORM = dict(type="Xavier", layer="Conv2d", distribution="uniform")


@MODELS.register_module()
class RoIAuxiliary(AuxiliaryForm):
    """Let supervised maps classify and refine the RoIs of the detector.

    The defaults are AugFPN's consistent supervision: Guo et al., CVPR 2020 (arXiv
    1912.05384), Sec. 3.1, Eq. 1 and 2. One head of two fully connected layers, shared
    by all laterals, sees every RoI on every level; per level and with factor 0.25, the
    cross-entropy is divided by the number of weighted RoIs and smooth L1 (β = 1) by the
    number of RoIs, and the losses of the levels are added.

    The auxiliary losses of Jin et al., "You Should Look at All Objects", ECCV 2022
    (arXiv 2207.07889), Sec. 3.4 and 4.1, are ``levels=["c2", "c3", "c4"]``,
    ``loss_weight=1.0``, ``shared_head=False``, ``feature_channels=256`` and, for Eq. 10
    and 11, ``uncertainty_weight``.

    Two-stage detectors: the RoIs are those that the detector samples for its own head
    (the first stage of a cascade). One-stage detectors: the boxes that the detector
    finds in this iteration, sampled, see ``DecodedProposals``. Neither has a gradient.

    Args:
        detector: the built detector, to look at.
        settings: config of the detector.
        levels: maps to supervise.
        loss_weight: factor of all losses, λ in AugFPN's Eq. 1.
        assignment: ``"all"``: every RoI on every level. ``"assigned"``: each RoI on one
            level, chosen by its size as FPN does ("single level" in AugFPN's Table 3).
        shared_head: one head for all levels, or one per level.
        feature_channels: width of a 1x1 conv before pooling (f_pre of Eq. 8), without
            ReLU, which the layers behind it have; ``None`` pools the maps as they are.
        bbox_head: entries of the head's config to replace. Classes, box coder and
            whether classes share boxes are those of the detector's head.
        roi_layer: config of the pooling; the default is mmdet's aligned RoIAlign with
            the released 2 x 2 samples per cell.
        mask_loss: also let the levels predict masks, with a head like the detector's.
        proposals: see ``DecodedProposals``, as the next two; for one-stage detectors.
        assigner: config, like ``sampler``.
        **kwargs: ``in_channels``, ``first_level``, ``uncertainty_weight`` and
            ``with_cp`` of ``AuxiliaryForm``; masks are not computed anew.
    """

    def __init__(
        self,
        detector: nn.Module,
        settings: Settings,
        levels: Sequence[str] | str = "laterals",
        loss_weight: float = 0.25,
        assignment: str = "all",
        shared_head: bool = True,
        feature_channels: int | None = None,
        bbox_head: Settings | None = None,
        roi_layer: Settings | None = None,
        mask_loss: bool = False,
        proposals: Settings | None = None,
        assigner: Settings | None = None,
        sampler: Settings | None = None,
        **kwargs: Any,
    ) -> None:
        self.is_two_stage = settings.get("roi_head") is not None
        if self.is_two_stage:
            _check_sampler(settings)
            if proposals or assigner or sampler:
                what = "proposals, assigner and sampler are for detectors without"
                raise ValueError(f"{what} RoI head; this one uses its own")
        elif settings.get("bbox_head") is None:
            raise ValueError(
                "RoIAuxiliary needs a detector with a roi_head or a bbox_head"
            )
        else:
            check_head(detector.bbox_head)
        super().__init__(detector, settings, levels, loss_weight=loss_weight, **kwargs)
        check_choice("assignment", assignment, ("all", "assigned"))
        self.assignment = assignment
        self.proposals = DecodedProposals(proposals, assigner, sampler)
        widths = [level.channels for level in self.levels]
        self.pre_convs = None
        if feature_channels is not None:
            check_int("feature_channels", feature_channels)
            self.pre_convs = ModuleList(
                [nn.Conv2d(width, feature_channels, 1) for width in widths],
                init_cfg=XAVIER_UNIFORM,
            )
            widths = [feature_channels] * len(widths)
        if shared_head and len(set(widths)) > 1:
            raise ValueError(
                f"shared_head=True needs levels of one width, got {widths}; set "
                "feature_channels or shared_head=False"
            )
        strides = [level.stride for level in self.levels]
        pooling = dict(roi_layer or dict(type="RoIAlign", output_size=7))
        self.roi_extractor = AllLevelRoIExtractor(pooling, widths[0], strides)
        self.train_cfg = ConfigDict(pos_weight=-1)
        if self.is_two_stage:
            self.train_cfg = first_stage(settings["train_cfg"]["rcnn"])

        number = 1 if shared_head else len(widths)
        config = _box_head_config(settings, bbox_head, pooling.get("output_size", 7))
        self.bbox_heads = ModuleList(
            MODELS.build({**config, "in_channels": width}) for width in widths[:number]
        )
        self.uncertainty = None
        if self.uncertainty_weight is not None:
            self.uncertainty = ModuleList()
            self._rows = UncertaintyRows(self.bbox_heads[0].num_classes)
            for head in self.bbox_heads:
                if not (hasattr(head, "fc_cls") and hasattr(head, "fc_reg")):
                    raise ValueError(
                        "uncertainty_weight needs a box head with fc_cls and fc_reg, "
                        f"got {type(head).__name__}"
                    )
                inputs = dict(cls=head.fc_cls.in_features, bbox=head.fc_reg.in_features)
                branches = add_uncertainty(head, self._rows, inputs, dense=False)
                self.uncertainty.append(branches)
        self.mask_heads = None
        if mask_loss:
            self.mask_heads, self.mask_roi_extractor = _build_mask_heads(
                settings, widths, strides, number
            )

    def extra_repr(self) -> str:
        """Name what no module below shows."""
        return f"{super().extra_repr()}, assignment={self.assignment}"

    @contextmanager
    def recording(self, detector: nn.Module) -> Iterator[dict[str, list]]:
        """Keep the RoIs that the detector samples, or what its dense head predicts."""
        if self.is_two_stage:
            sampler = first_stage(detector.roi_head.bbox_sampler)
            with record_calls(sampler, "sample") as sampled:
                yield dict(sampled=sampled)
        else:
            with record_outputs(detector.bbox_head) as outputs:
                yield dict(outputs=outputs)

    def loss(
        self,
        detector: nn.Module,
        features: Mapping[str, Tensor],
        recorded: Mapping[str, list],
        samples: Sequence[InstanceData],
    ) -> dict[str, Tensor]:
        """Compute the auxiliary losses, see ``AuxiliaryForm.loss``."""
        check_strides(self.levels, features, samples[0].metainfo["batch_input_shape"])
        if self.is_two_stage:
            # HTC samples a second time for its masks, TridentNet for each branch.
            # PISA's sampler returns weights of the negatives beside its result.
            sampled = [
                result[0] if isinstance(result, tuple) else result
                for result in recorded["sampled"][: len(samples)]
            ]
        else:
            sampled = self.proposals(
                detector.bbox_head, recorded["outputs"][0], samples
            )
        maps = self.maps(features)
        rois = bbox2roi([result.priors for result in sampled])
        targets = self.bbox_heads[0].get_targets(sampled, self.train_cfg)
        rows = self.rows_of_levels(rois)
        losses = {}
        weighted = (targets[1] > 0).sum().clamp(min=1)
        for i, (x, chosen) in enumerate(zip(maps, rows, strict=True)):
            own = [target[chosen] for target in targets]
            arguments = (i, x, rois[chosen], own, weighted, len(rois))
            losses |= self.run(self._level_losses, *arguments)
        if self.mask_heads is not None:
            losses |= self._mask_losses(maps, sampled, samples)
        return losses

    def maps(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the maps to pool from, ``(N, C, H, W)`` per level."""
        maps = [features[level.name] for level in self.levels]
        if self.pre_convs is not None:
            maps = [conv(x) for conv, x in zip(self.pre_convs, maps, strict=True)]
        return maps

    def _level_losses(
        self,
        level: int,
        x: Tensor,
        rois: Tensor,
        targets: Sequence[Tensor],
        num_weighted: Tensor,
        num_rois: int,
    ) -> dict[str, Tensor]:
        """Compute the losses of a level's RoIs; the numbers are those of all levels."""
        name = self.levels[level].name
        scores, boxes, alphas = self.predict(level, x, rois)
        if alphas:
            self._rows.start(*([alphas[kind]] for kind in KINDS))
        found = self.bbox_heads[self._place(level)].loss(scores, boxes, rois, *targets)
        # mmdet leaves the loss out where there is no RoI at all.
        loss_cls = found.get("loss_cls", scores.sum() * 0)
        # A head divides by the RoIs it is given, Eq. 1 by those of all levels.
        share_cls = (targets[1] > 0).sum() / num_weighted
        share_bbox = len(boxes) / max(num_rois, 1)
        losses = {
            f"aux.loss_cls.{name}": self.loss_weight * share_cls * loss_cls,
            f"aux.loss_bbox.{name}": self.loss_weight * share_bbox * found["loss_bbox"],
        }
        if alphas:
            losses |= self.uncertainty_losses(self._rows, name)
        return losses

    def _mask_losses(
        self,
        maps: Sequence[Tensor],
        sampled: Sequence[SamplingResult],
        samples: Sequence[InstanceData],
    ) -> dict[str, Tensor]:
        """Compute ``aux.loss_mask.<level>`` of the positive RoIs."""
        rois = bbox2roi([result.pos_priors for result in sampled])
        labels = torch.cat([result.pos_gt_labels for result in sampled])
        targets = rois
        if len(rois) > 0:
            truths = [sample.gt_instances for sample in samples]
            first = self.mask_heads[0]
            targets = first.get_targets(sampled, truths, self.train_cfg)
        losses = {}
        for i, rows in enumerate(self.rows_of_levels(rois)):
            head = self.mask_heads[self._place(i)]
            masks = head(self.mask_roi_extractor.pool_level(i, maps[i], rois[rows]))
            if isinstance(masks, list):
                masks = masks[0]  # HTC's head returns its features as well
            loss = masks.sum() * 0
            if len(masks) > 0:
                classes = labels[rows] * (0 if head.class_agnostic else 1)
                share = len(masks) / len(rois)
                loss = head.loss_mask(masks, targets[rows], classes).sum() * share
            losses[f"aux.loss_mask.{self.levels[i].name}"] = self.loss_weight * loss
        return losses

    def _place(self, level: int) -> int:
        return level if len(self.bbox_heads) > 1 else 0

    def predict(
        self, level: int, x: Tensor, rois: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Predict from the RoIs ``(K, 5)`` on the map of a level.

        Returns:
            The scores, the boxes, and α by the kind of loss, where there is any.
        """
        head = self.bbox_heads[self._place(level)]
        pooled = self.roi_extractor.pool_level(level, x, rois)
        if self.uncertainty is None:
            return (*head(pooled), {})
        with (
            record_inputs(head.fc_cls) as of_scores,
            record_inputs(head.fc_reg) as of_boxes,
        ):
            scores, boxes = head(pooled)
        branches = self.uncertainty[self._place(level)]
        inputs = zip(KINDS, (of_scores[0], of_boxes[0]), strict=True)
        return scores, boxes, {kind: branches[kind](x) for kind, x in inputs}

    def rows_of_levels(self, rois: Tensor) -> list[Tensor | slice]:
        """Return which RoIs each level has: all, or a mask ``(K,)`` of its own.

        A RoI of 112 pixels belongs to the map of stride 8, as in FPN (Eq. 1 there).
        """
        if self.assignment == "all":
            return [slice(None)] * len(self.levels)
        number, finest = len(self.levels), 14 * self.levels[0].stride
        levels = original_levels(rois, number, finest)
        return [levels == i for i in range(number)]


def _check_sampler(settings: Settings) -> None:
    stage = first_stage((settings.get("train_cfg") or {}).get("rcnn")) or {}
    sampler = stage.get("sampler")
    # Sparse R-CNN and QueryInst have a PseudoSampler.
    if sampler is None or "PseudoSampler" in str(sampler["type"]):
        raise ValueError(
            "RoIAuxiliary needs a detector that samples RoIs by its "
            "train_cfg.rcnn.sampler (PseudoSampler takes every proposal), got "
            f"{sampler!r}"
        )


def first_stage(value: Any) -> Any:
    """Return a setting, of the first stage where there are several."""
    return value[0] if isinstance(value, list | tuple | nn.ModuleList) else value


def _box_head_config(
    settings: Settings, replace: Settings | None, pooled_size: Any
) -> dict[str, Any]:
    """Return the config of an auxiliary box head, but for its ``in_channels``.

    Classes and box coder are the detector's, where it has a second stage. Without one
    it has a coder for points or anchors, and RoIs get Faster R-CNN's.
    """
    main = first_stage((settings.get("roi_head") or {}).get("bbox_head"))
    taken = ("num_classes", "reg_class_agnostic", "bbox_coder")
    if main is None:
        main, taken = settings["bbox_head"], ("num_classes",)
        if main.get("num_classes") is None:
            raise ValueError("the detector's bbox_head does not say num_classes")
    # mmdet's defaults are Faster R-CNN's coder and AugFPN's widths and losses.
    config = dict(type="Shared2FCBBoxHead", roi_feat_size=pooled_size)
    config |= {key: main[key] for key in taken if key in main}
    return copy.deepcopy({**config, **(replace or {})})


def _build_mask_heads(
    settings: Settings, widths: list[int], strides: list[int], number: int
) -> tuple[ModuleList, AllLevelRoIExtractor]:
    """Build one or more mask heads like the detector's, and the pooling before them."""
    roi_head = settings.get("roi_head") or {}
    config = first_stage(roi_head.get("mask_head"))
    if config is None:
        raise ValueError("mask_loss=True needs a detector with a mask_head")
    extractor = first_stage(
        roi_head.get("mask_roi_extractor") or roi_head.get("bbox_roi_extractor")
    )
    layer = copy.deepcopy(extractor["roi_layer"])
    heads = ModuleList(
        MODELS.build({**copy.deepcopy(config), "in_channels": width})
        for width in widths[:number]
    )
    return heads, AllLevelRoIExtractor(layer, widths[0], strides)
