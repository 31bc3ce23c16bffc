import pytest

from fpn_necks.layers import LevelRange, check_int


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "in_channels must name at least 1 level"),
        ((4, 5, -1), r"start_level must lie in \[0, 3\] for 4 backbone levels, got -1"),
        ((4, 5, 4), r"start_level must lie in \[0, 3\]"),
        ((4, 5, 2, 1), r"end_level must be -1 or lie in \[start_level=2, 3\], got 1"),
        ((4, 5, 0, 4), "end_level must be -1 or lie in.*got 4"),
        ((4, 5, 0, -2), "end_level must be -1 or lie in.*got -2"),
        ((4, 3), r"num_outs must be at least 4.*\(0 to 3\), got 3"),
        ((4, 3, 0, 1), "num_outs must be 2 because end_level=1 is not the last"),
    ],
)
def test_refused_values(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelRange(*arguments)


@pytest.mark.parametrize("value", [1.0, True, "1", None])
def test_refused_types(value: object) -> None:
    with pytest.raises(TypeError, match="start_level must be an integer"):
        LevelRange(4, 5, value)
    with pytest.raises(TypeError, match="width must be an integer"):
        check_int("width", value)


def test_select_wants_one_entry_per_backbone_level() -> None:
    with pytest.raises(ValueError, match="expected 4 feature maps.*got 5"):
        LevelRange(4, 5).select(range(5))
