"""Feature-pyramid necks for MMDetection 3.

Importing the package registers its modules in ``mmdet.registry``, so that a config
needs no more than ``custom_imports = dict(imports=["fpn_necks"])``.
"""

import sys

from .version import __version__

# For `python -m fpn_necks ...` Python imports this file while it still looks for the
# module to run, with "-m" in the place of the script's name. The command line must
# work on a broken installation (doctor) and at once (config-path): nothing is loaded.
_is_command_line = getattr(sys, "argv", [""])[:1] == ["-m"] and any(
    pair in (("-m", "fpn_necks"), ("-m", "fpn_necks.__main__"))
    for pair in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
)

if _is_command_line:
    __all__ = ["__version__"]
else:
    from .compatibility import require_compatible_stack

    require_compatible_stack()

    from .checkpoints import allow_checkpoint_types

    allow_checkpoint_types()

    from . import (
        auxiliary,
        datasets,
        dense_heads,
        evaluation,
        hooks,
        necks,
        roi_extractors,
    )

    __all__ = [
        "__version__",
        "auxiliary",
        "datasets",
        "dense_heads",
        "evaluation",
        "hooks",
        "necks",
        "roi_extractors",
    ]
