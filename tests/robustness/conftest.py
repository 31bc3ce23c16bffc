import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """mmengine logs every parameter that it initialises."""
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)
