"""Feature-pyramid necks for MMDetection 3.

Importing the package registers its modules in ``mmdet.registry``, so that a config
needs no more than ``custom_imports = dict(imports=["fpn_necks"])``. Where mmdet is not
installed nothing is registered, and ``fpn_necks.layers`` alone works.
"""

import re
import sys
from importlib.util import find_spec

from .version import __version__

__all__ = [
    "__version__",
    "auxiliary",
    "datasets",
    "dense_heads",
    "evaluation",
    "hooks",
    "necks",
    "register_modules",
    "roi_extractors",
]


def register_modules() -> None:
    """Import what the package registers; importing the package has done so.

    Only the command line, which must work on a broken installation (doctor) and start
    at once (configs), imports the package without it and calls this where a command
    needs it.

    Raises:
        ImportError: the installed libraries do not work together.
    """
    from .compatibility import require_compatible_stack

    require_compatible_stack()

    from .checkpoints import allow_checkpoint_types

    allow_checkpoint_types()

    from . import (  # noqa: F401
        auxiliary,
        datasets,
        dense_heads,
        evaluation,
        hooks,
        necks,
        roi_extractors,
    )


def _is_command_line() -> bool:
    """Tell whether this process was started as ``fpn-necks`` or ``-m fpn_necks``.

    Read from the interpreter's own command line, which child processes (workers of
    loaders, trainings) do not share, unlike the environment and ``sys.argv``.
    """
    arguments = getattr(sys, "argv", [])
    # What is left without the program's own arguments: python, its options, a program.
    *_, program = "", *sys.orig_argv[: len(sys.orig_argv) + 1 - len(arguments)]
    if arguments[:1] == ["-m"]:  # python is still looking for the module
        return re.fullmatch(r"(-\w*m)?fpn_necks(\.__main__)?", program) is not None
    name = re.split(r"[\\/]", program)[-1]
    return name in ("fpn-necks", "fpn-necks.exe", "fpn-necks-script.py")


if not _is_command_line() and find_spec("mmdet") is not None:
    register_modules()
