"""How many cases the fuzz tests draw in a run of the suite."""

from tests.robustness import (
    test_fuzz_annotations,
    test_fuzz_necks,
    test_fuzz_rois,
)
from tests.robustness.fuzzing import CASES


def test_at_least_2000_cases() -> None:
    """Each test sees to it itself that it has drawn its share."""
    modules = (test_fuzz_annotations, test_fuzz_necks, test_fuzz_rois)
    counts = {
        module.__name__: sum(
            cases for name, cases in CASES.items() if name.startswith(module.__name__)
        )
        for module in modules
    }
    assert all(counts.values())
    assert sum(counts.values()) >= 2000, counts
