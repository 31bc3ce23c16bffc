"""The released SoftRoIExtractor of AugFPN; ours has the same name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from .method import ReleasedMethod, conv


def build(
    roi_layer: Mapping[str, Any],
    out_channels: int,
    featmap_strides: Sequence[int],
    finest_scale: int = 56,
) -> nn.Module:
    """Return ``SoftRoIExtractor`` from the released arguments.

    Args:
        roi_layer: ``type`` ('RoIAlign'), ``out_size`` and ``sample_num``. An additional
            ``legacy=True`` asks for the operator of the released tree, see
            ``LegacyRoIAlign``; without it RoIAlign is mmcv's ``aligned=False``, as
            later versions of mmdet ran such configs.
        out_channels: width of the maps.
        featmap_strides: stride of each level.
        finest_scale: does nothing, neither there.

    Raises:
        TypeError: ``roi_layer`` holds something else.
        ValueError: its type is not RoIAlign.
    """
    # Here, because mmcv's compiled ops may be missing.
    from fpn_necks.roi_extractors.soft_roi_extractor import SoftRoIExtractor

    return SoftRoIExtractor(
        _translate_roi_layer(**roi_layer), out_channels, featmap_strides
    )


def _translate_roi_layer(
    type: str, out_size: int, sample_num: int = 0, legacy: bool = False
) -> dict[str, Any]:
    if type != "RoIAlign":
        raise ValueError(f"roi_layer must have type='RoIAlign', got {type!r}")
    operator = dict(legacy=True) if legacy else dict(aligned=False)
    return dict(
        type="RoIAlign", output_size=out_size, sampling_ratio=sample_num, **operator
    )


def names_of(released: Collection[str]) -> dict[str, str]:
    """Return the expected names and ours."""
    return {
        **conv("spatial_attention_conv.0", "fusion.reduce"),
        **conv("spatial_attention_conv.2", "fusion.weigh"),
    }


METHOD = ReleasedMethod(build, names_of, layout="mmdet 1")
