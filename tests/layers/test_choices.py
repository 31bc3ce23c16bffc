import pytest

from fpn_necks.layers import check_choice


def test_check_choice_returns_or_lists_what_is_allowed() -> None:
    assert check_choice("way", "up", {"up": 1, "down": 2}) == "up"
    with pytest.raises(
        ValueError, match=r"way must be one of \('up', 'down'\), got 'u'"
    ):
        check_choice("way", "u", ("up", "down"))
    with pytest.raises(ValueError, match="got None"):
        check_choice("way", None, ("up", "down"))
