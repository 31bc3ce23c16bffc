"""The layers are plain torch and mmcv.cnn: they work where mmdet is not installed."""

import subprocess
import sys

SCRIPT = """
import sys
sys.modules["mmdet"] = None  # what an import of a missing package does
import torch
from fpn_necks.layers import SpatialRefinement
maps = SpatialRefinement(8)(torch.rand(1, 8, 4, 4), torch.rand(1, 8, 2, 2))
assert maps.shape == (1, 8, 4, 4)
assert not [name for name in sys.modules if name.startswith("mmdet.")]
import fpn_necks
try:
    fpn_necks.register_modules()
except ImportError as error:
    assert "mmdet" in str(error) and "pip install" in str(error), error
else:
    raise AssertionError("registered without mmdet")
"""


def test_layers_work_without_mmdet() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
