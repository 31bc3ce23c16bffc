"""Transforms; importing this package registers them into mmdet.

They extend mmdet's, which need mmcv's compiled ops. Without those (mmcv-lite) the
package is empty, and the necks still work.
"""

try:
    import mmcv.ops  # noqa: F401
except ImportError:
    __all__ = []
else:
    from .scale_match import MonotonicScaleMatch, ScaleMatch

    __all__ = ["MonotonicScaleMatch", "ScaleMatch"]
