import pytest

from fpn_necks.layers import LevelRange


@pytest.mark.parametrize(
    ("arguments", "used", "num_extra"),
    [
        ((4, 5), [0, 1, 2, 3], 1),
        ((4, 4), [0, 1, 2, 3], 0),
        ((4, 5, 1), [1, 2, 3], 2),
        ((4, 5, 1, 3), [1, 2, 3], 2),  # the last index is what -1 means
        ((4, 2, 1, 2), [1, 2], 0),
        ((4, 1, 3), [3], 0),
        ((1, 3), [0], 2),
    ],
)
def test_range(arguments: tuple[int, ...], used: list[int], num_extra: int) -> None:
    levels = LevelRange(*arguments)
    assert levels.select(range(arguments[0])) == used
    assert (levels.num_used, levels.last_index) == (len(used), used[-1])
    assert levels.num_extra == num_extra
