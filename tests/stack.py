"""What some supported stacks cannot do; docs/compatibility.md lists what was run."""

from importlib import metadata

import pytest
import torch

from fpn_necks.compatibility import release

IS_TORCH_2_1 = release(torch.__version__)[:2] == (2, 1)
needs_whole_graphs = pytest.mark.skipif(
    IS_TORCH_2_1, reason="torch 2.1's compiler breaks the graph of our necks"
)
# The maintained fork has other distributions with the same packages in them.
IS_FORK = "mmengine" not in metadata.packages_distributions()["mmengine"]
