"""What is wrong with an installation, and what to do about it.

The facts come from ``probe.py``, run as a process of its own; ``diagnose`` is a pure
function of them. Nothing here imports torch or a library of OpenMMLab, so that the
doctor can be asked when those are broken.
"""

from .diagnosis import diagnose
from .facts import gather_facts
from .findings import Finding
from .report import format_findings, run_doctor

__all__ = ["Finding", "diagnose", "format_findings", "gather_facts", "run_doctor"]
