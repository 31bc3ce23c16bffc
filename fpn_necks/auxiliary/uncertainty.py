"""Auxiliary losses weighted by an uncertainty that the network predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor, nn


class Uncertainty(BaseModule):
    """α = ReLU(w · x + b), one value per RoI or location.

    Jin et al., "You Should Look at All Objects", ECCV 2022 (arXiv 2207.07889), Eq. 11.
    The paper gives no initialisation. Ours is w ~ N(0, 0.01), b = 0.1: at α = 0 a ReLU
    has no gradient. Weight decay would pull α to 0 whatever the losses are; configs
    switch it off by the name of these modules:
    ``paramwise_cfg=dict(custom_keys={"uncertainty": dict(decay_mult=0.0)})``.

    Args:
        in_channels: width of x.
        dense: x is a map and not rows of RoIs.
    """

    def __init__(self, in_channels: int, dense: bool) -> None:
        kind = "Conv2d" if dense else "Linear"
        super().__init__(init_cfg=dict(type="Normal", layer=kind, std=0.01, bias=0.1))
        self.layer = (
            nn.Conv2d(in_channels, 1, 1) if dense else nn.Linear(in_channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return α as one row: ``(K,)`` of ``(K, C)``, ``(N * H * W,)`` of a map."""
        return self.layer(x).relu().flatten().float()


KINDS = ("cls", "bbox")  # of losses, in the order in which a head computes them


class UncertaintyRows:
    """Hands each row of a head's losses its α, and adds up what was handed out.

    A head of mmdet flattens its predictions into rows: images, then positions, then
    anchors of a position; either one level after the other or all levels at once. The
    classification loss comes first and names each row's label; a box loss has all of
    these rows or the positive ones.

    Args:
        num_classes: labels below it are objects.
        num_anchors: rows per α.
    """

    def __init__(self, num_classes: int, num_anchors: int = 1) -> None:
        self.num_classes = num_classes
        self.num_anchors = num_anchors
        self.start([], [])

    def start(self, of_scores: Sequence[Tensor], of_boxes: Sequence[Tensor]) -> None:
        """Set α of both losses, one ``(rows / num_anchors,)`` per level."""
        self._alpha = dict(zip(KINDS, (of_scores, of_boxes), strict=True))
        self._level = 0
        self._boxes: Tensor | None = None
        self._positive: Tensor | None = None
        self._sums = {
            kind: sum(a.sum() * 0 for a in alphas)
            for kind, alphas in self._alpha.items()
        }
        self._counts = dict.fromkeys(KINDS, 0)

    def __getstate__(self) -> dict[str, int]:
        # Copies of a model (an EMA) need no α of the last batch, which torch would not
        # copy.
        return dict(num_classes=self.num_classes, num_anchors=self.num_anchors)

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def of_scores(self, labels: Tensor) -> Tensor:
        """Return α of the classification rows of the next level, or of all levels."""
        scores, boxes = self._alpha["cls"], self._alpha["bbox"]
        each = [len(alpha) * self.num_anchors for alpha in scores]
        if self._level < len(each) and len(labels) == each[self._level]:
            last = self._level + 1
        elif self._level == 0 and len(labels) == sum(each):
            last = len(each)
        else:
            raise ValueError(
                f"expected the losses of {each} rows, level after level or at once, "
                f"got {len(labels)}; uncertainty cannot weight this head's losses"
            )
        chosen = slice(self._level, last)
        self._level = last
        self._positive = (labels >= 0) & (labels < self.num_classes)
        repeats = self.num_anchors
        self._boxes = torch.cat(boxes[chosen]).repeat_interleave(repeats)
        return torch.cat(scores[chosen]).repeat_interleave(repeats)

    def of_boxes(self, count: int) -> Tensor:
        """Return α of so many box rows: all of the last labels, or the positive."""
        if self._boxes is None or self._positive is None:
            raise ValueError(
                "a box loss came before its classification loss; uncertainty cannot "
                "weight this head's losses"
            )
        if count == len(self._boxes):
            return self._boxes
        positive = self._boxes[self._positive]
        if count != len(positive):
            raise ValueError(
                f"expected {len(self._boxes)} box rows or the {len(positive)} positive "
                f"ones, got {count}; uncertainty cannot weight this head's losses"
            )
        return positive

    def add(self, kind: str, alpha: Tensor, supervised: Tensor | None) -> None:
        """Count α of the rows that a loss has used."""
        if supervised is None:
            supervised = torch.ones_like(alpha)
        # Products, because picking rows makes a GPU wait.
        self._sums[kind] = self._sums[kind] + (alpha * supervised).sum()
        self._counts[kind] = self._counts[kind] + supervised.sum()

    def mean(self, kind: str) -> Tensor:
        """Mean α of the supervised rows; 0, with a gradient, where there are none."""
        return self._sums[kind] / torch.as_tensor(self._counts[kind]).clamp(min=1)


class UncertainLoss(nn.Module):
    """A loss module of a head, each of whose rows is multiplied by e^{-α} (Eq. 10).

    What the head divides by stays as it is.

    Args:
        loss: mmdet's loss module.
        rows: where α comes from; the classification and the box loss share it.
        kind: ``"cls"`` or ``"bbox"``.
    """

    def __init__(self, loss: nn.Module, rows: UncertaintyRows, kind: str) -> None:
        super().__init__()
        self.loss = loss
        self.rows = rows
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        """Look up in the wrapped loss what heads ask of a loss, as ``use_sigmoid``."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("loss"), name)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Return the wrapped loss with its weights multiplied by e^{-α}."""
        if self.kind == "cls":
            alpha = self.rows.of_scores(target)
        else:
            alpha = self.rows.of_boxes(len(pred))
        supervised = None
        factor = torch.exp(-alpha)
        if weight is not None:
            if len(weight) != len(alpha):
                raise ValueError(
                    f"expected a weight for each of {len(alpha)} rows, got "
                    f"{len(weight)}; uncertainty cannot weight this head's losses"
                )
            supervised = weight > 0 if weight.dim() == 1 else (weight > 0).any(dim=1)
            factor = weight * (factor if weight.dim() == 1 else factor[:, None])
        elif self.kind == "bbox":
            # Some losses have a value per coordinate, and all take weights for each.
            factor = factor[:, None].expand_as(pred)
        self.rows.add(self.kind, alpha, supervised)
        return self.loss(pred, target, factor, *args, **kwargs)


def add_uncertainty(
    head: nn.Module, rows: UncertaintyRows, in_channels: Mapping[str, int], dense: bool
) -> ModuleDict:
    """Let α weigh both losses of a head; return the branches that predict it, by kind.

    They see ``in_channels`` of each kind; the rows get their α before every loss.
    """
    for kind in KINDS:
        loss = UncertainLoss(getattr(head, f"loss_{kind}"), rows, kind)
        setattr(head, f"loss_{kind}", loss)
    return ModuleDict({kind: Uncertainty(in_channels[kind], dense) for kind in KINDS})
