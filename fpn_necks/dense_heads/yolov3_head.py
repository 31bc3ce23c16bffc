"""YOLOv3's head for necks that end in the widths of its predictions."""

from __future__ import annotations

from mmdet.models.dense_heads import YOLOV3Head
from mmdet.registry import MODELS
from torch import nn


@MODELS.register_module()
class BridgelessYOLOV3Head(YOLOV3Head):
    """mmdet's ``YOLOV3Head`` without the 3x3 convs before the predictions.

    In YOLOv3 with ASFF the ``expand`` convs of the neck have their place. The
    predictions keep their names, ``convs_pred.*``.

    Args:
        *args: the arguments of ``YOLOV3Head``; ``in_channels`` and ``out_channels``
            must be equal.
        **kwargs: see ``*args``.

    Raises:
        ValueError: ``in_channels`` and ``out_channels`` differ.
    """

    def _init_layers(self) -> None:
        if list(self.in_channels) != list(self.out_channels):
            raise ValueError(
                "in_channels and out_channels must be equal, since there are no convs "
                f"between them, got {self.in_channels!r} and {self.out_channels!r}"
            )
        super()._init_layers()
        self.convs_bridge = nn.ModuleList(nn.Identity() for _ in self.in_channels)
