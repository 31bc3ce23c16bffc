"""What is wrong with the config of a detector, and which line mends it.

The truth is measured: the detector is built without memory for its weights, an image
goes through backbone and neck, and the sizes of the real maps are compared with what
heads and RoI extractors expect of them. ``judges/`` turns that into findings, one
module per question.
"""

from .detectors import Detector, examine
from .diagnosis import diagnose
from .findings import Finding
from .report import check_config, run_check

__all__ = ["Detector", "Finding", "check_config", "diagnose", "examine", "run_check"]
