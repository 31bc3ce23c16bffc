"""Our necks in torchvision's RetinaNet, FCOS and Faster R-CNN."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

RESNET_LAYERS = ("layer1", "layer2", "layer3", "layer4")  # C2 to C5


class TorchvisionBackbone(nn.Module):
    """A network and a neck, as torchvision's detectors want their backbone.

    The maps are named by number, ``"0"`` for the finest. torchvision's Faster R-CNN
    takes five; its RetinaNet and FCOS expect strides 8 to 128: ``start_level=1,
    num_outs=5`` of a neck.

    Args:
        body: a classifier, such as torchvision's ResNets.
        neck: any neck of ``fpn_necks.necks``, or several one behind the other in an
            ``nn.Sequential``. Its weights are initialised.
        layers: names of the modules of ``body`` whose outputs the neck takes, the
            finest first.

    Raises:
        ValueError: the neck's maps differ in width, or a layer is not in ``body``.

    Example:
        >>> from torchvision.models import resnet18
        >>> from torchvision.models.detection import FCOS
        >>> from fpn_necks.necks import AugFPN
        >>> neck = AugFPN([64, 128, 256, 512], 64, num_outs=5, start_level=1)
        >>> detector = FCOS(TorchvisionBackbone(resnet18(), neck), num_classes=3)
    """

    def __init__(
        self, body: nn.Module, neck: nn.Module, layers: Sequence[str] = RESNET_LAYERS
    ) -> None:
        super().__init__()
        stages = list(neck) if isinstance(neck, nn.Sequential) else [neck]
        widths = stages[-1].out_channels
        widths = {widths} if isinstance(widths, int) else set(widths)
        if len(widths) != 1:
            raise ValueError(
                "torchvision's heads take maps of one width, the neck gives "
                f"{sorted(widths)}"
            )
        (self.out_channels,) = widths  # torchvision asks for it
        names = {name: str(index) for index, name in enumerate(layers)}
        self.body = create_feature_extractor(body, names)
        self.neck = neck
        for stage in stages:
            stage.init_weights()

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the neck's maps of ``(N, 3, H, W)`` by number, the finest first."""
        maps = self.neck(tuple(self.body(images).values()))
        return OrderedDict((str(index), x) for index, x in enumerate(maps))
