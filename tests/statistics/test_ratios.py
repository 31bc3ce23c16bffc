import re
import warnings

import pytest

from fpn_necks.statistics import fusion_factors


@pytest.mark.parametrize(
    ("counts", "connections", "expected"),
    [
        ([8, 4, 2, 1, 0], 3, [0.5, 0.5, 0.5]),
        ([8, 4, 4, 1, 1], 3, [0.5, 1.0, 0.5]),  # the last numerator is N5 + N6
        ([10, 5, 1], 2, [0.5, 0.2]),
        ([10, 5], 1, [0.5]),
        ([10, 5, 3], 1, [0.8]),
        ([7], 0, []),
        ([7, 3], 0, []),
    ],
)
def test_eq_2(counts: list[int], connections: int, expected: list[float]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fusion_factors(counts, connections) == pytest.approx(expected)
    assert len(caught) == int(1.0 in expected)


def test_level_without_objects_is_named() -> None:
    with pytest.warns(UserWarning) as caught:
        factors = fusion_factors(
            [4, 0, 2, 0, 0], 3, level_names=["P2", "P3", "P4", "P5", "P6"]
        )
    assert factors == [0.0, 1.0, 0.0]
    messages = [str(warning.message) for warning in caught]
    zero = "the fusion factor of its connection with"
    assert f"no object on P3: {zero} P2 is 0" in messages
    assert f"no object on P5 and higher levels: {zero} P4 is 0" in messages
    assert any("P3 has no object" in m and "1 is used" in m for m in messages)


@pytest.mark.parametrize(
    ("counts", "factors", "said"),
    [
        ([100, 1, 50], [0.2, 2.0], r"0.01, 50, clamped to \[0.2, 2\]: S-α suits"),
        ([100, 50, 51], [0.5, 1.02], "0.5, 1.02: S-α suits datasets whose objects lie"),
        ([100, 50, 4], [0.5, 0.2], r"0.5, 0.08, clamped to \[0.2, 2\]: the lev"),
        ([100, 50, 20], [0.5, 0.4], None),
    ],
)
def test_data_that_do_not_suit_the_method(counts, factors, said: str | None) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert fusion_factors(counts, 2, limits=(0.2, 2.0)) == factors
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == (said is not None)
    assert said is None or re.search(said, messages[0])


@pytest.mark.parametrize(
    ("counts", "connections", "message"),
    [
        ([1, 2], 2, "counts must have at least 3 levels for 2 connections, got 2"),
        ([1, -2, 3], 1, "counts must be at least 0"),
        ([0, 0, 0], 2, "there is no box"),
        ([1, 2], -1, "num_connections must be at least 0, got -1"),
    ],
)
def test_refused(counts: list[int], connections: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fusion_factors(counts, connections)
