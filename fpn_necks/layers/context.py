"""Context modules for the highest backbone map (DRFPN, Sec. 3.3 and Table 7).

Each stands in the place of the lateral convolution. The paper names the modules only:
``PyramidPooling`` follows the released code, the two others, which were not released,
meet the parameter counts and operations of Table 7.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adaptive_pooling import adaptive_average_pool

PPM_CELLS = (1, 2, 3, 6)  # per side of each pool
DILATIONS = (3, 6, 12, 18, 24)


class PyramidPooling(nn.Module):
    """Pyramid Pooling Module (PPM) of PSPNet (Zhao et al., CVPR 2017).

    ::

        x -- 1x1 -+----------------------------------------+
                  +- mean of 1x1 cells - 1x1 - nearest up -+
                  +- mean of 2x2 cells - 1x1 - nearest up -+- cat - 1x1 - ReLU
                  +- mean of 3x3 cells - 1x1 - nearest up -+
                  +- mean of 6x6 cells - 1x1 - nearest up -+

    Args:
        in_channels: width of the backbone map.
        out_channels: width of every branch and of the result.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, out_channels, 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 1, bias=False) for _ in PPM_CELLS
        )
        branches = len(PPM_CELLS) + 1
        self.bottleneck = nn.Conv2d(branches * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        x = self.reduce(x)
        branches = [
            F.interpolate(conv(adaptive_average_pool(x, (n, n))), size=x.shape[2:])
            for n, conv in zip(PPM_CELLS, self.stages, strict=True)
        ]
        return F.relu(self.bottleneck(torch.cat([*branches, x], dim=1)))


class NonLocalContext(nn.Module):
    """A non-local block (Wang et al., CVPR 2018) before the lateral convolution.

    ::

        x -+- 1x1 -> queries -+
           +- 1x1 -> keys ----+- attention -- 1x1 -(+)- 1x1 -- 1x1 -- ReLU
           +- 1x1 -> values --+                     |
           +----------------------------------------+

    Queries, keys and values have an eighth of the backbone map's width. The products
    are divided by the root of their width, as mmdet does. Only the last convolution has
    a bias. That gives the 49.95M parameters of Table 7.

    Args:
        in_channels: width of the backbone map, at least 8.
        out_channels: width of the result.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if in_channels < 8:
            raise ValueError(f"in_channels must be at least 8, got {in_channels}")
        hidden = in_channels // 8
        self.query = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.key = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.value = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.expand = nn.Conv2d(hidden, in_channels, 1, bias=False)
        self.reduce = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bottleneck = nn.Conv2d(out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        convs = (self.query, self.key, self.value)
        query, key, value = (conv(x).flatten(2).transpose(1, 2) for conv in convs)
        attended = F.scaled_dot_product_attention(query, key, value)  # (N, H*W, hidden)
        attended = attended.transpose(1, 2)
        attended = attended.reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        return F.relu(self.bottleneck(self.reduce(x + self.expand(attended))))


class DenseASPPContext(nn.Module):
    """Densely connected dilated convolutions (DenseASPP, Yang et al., CVPR 2018).

    Layer i sees the backbone map and the results of all layers before it::

        x -+- 1x1, ReLU, 3x3 dilated by 3 -+-------------- y1
           +-------------------------------+- 1x1, ... 6 - y2    cat(y1 ... y5) -- 1x1
           ...

    The layers reduce to 2 * out_channels and return out_channels each, and the lateral
    convolution reads the five results without the backbone map: that gives the 60.05M
    parameters of Table 7.

    Args:
        in_channels: width of the backbone map.
        out_channels: width of every layer's result and of the result.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = 2 * out_channels
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels + i * out_channels, hidden, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(hidden, out_channels, 3, padding=d, dilation=d),
            )
            for i, d in enumerate(DILATIONS)
        )
        self.reduce = nn.Conv2d(len(self.layers) * out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to ``(N, out_channels, H, W)``."""
        maps = [x]
        for layer in self.layers:
            maps.append(layer(torch.cat(maps, dim=1)))
        return self.reduce(torch.cat(maps[1:], dim=1))
