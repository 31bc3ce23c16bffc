"""What is wrong with a detector's config, and what to do about it.

The detector is built without memory for its weights and an image goes through backbone
and neck (``measure.py``); the maps are compared with what heads and RoI extractors
expect of them (``rules.py``, of ``levels.py`` and ``settings.py``); ``report.py``
prints what was found, with file and line.
"""

from .problem import Problem
from .report import check_config, run_check

__all__ = ["Problem", "check_config", "run_check"]
