"""The data beside a developer's clone, which users do not have."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def shared(relative: str) -> Path:
    """Return a path in ``../shared``, or skip the test with the reason."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"needs {relative} of the folder 'shared' beside the clone")
    return path
