"""Auxiliary supervision of maps inside a detector, in training only.

Importing this package registers it into mmdet. It pools RoIs with mmcv's compiled ops;
without those (mmcv-lite) the package is empty, and the necks still work.
"""

try:
    import mmcv.ops  # noqa: F401
except ImportError:
    __all__ = []
else:
    from .dense_form import DenseAuxiliary
    from .detectors import AuxiliaryLosses
    from .features import SupervisedLevel, find_levels
    from .form import AuxiliaryForm
    from .roi_form import RoIAuxiliary
    from .uncertainty import Uncertainty

    __all__ = [
        "AuxiliaryForm",
        "AuxiliaryLosses",
        "DenseAuxiliary",
        "RoIAuxiliary",
        "SupervisedLevel",
        "Uncertainty",
        "find_levels",
    ]
