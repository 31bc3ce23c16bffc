import math

import pytest

from fpn_necks.layers import check_bool, check_choice, check_int, check_number


@pytest.mark.parametrize(
    ("check", "allowed"),
    [
        (lambda value: check_choice("way", value, {"up": 1}), ["up"]),
        (lambda value: check_bool("way", value), [True, False]),
        (lambda value: check_int("way", value, minimum=-1), [-1, 0, 7]),
        (lambda value: check_number("way", value), [0, 0.5, 3]),
    ],
)
def test_checks_return_what_is_allowed(check, allowed: list) -> None:
    assert [check(value) for value in allowed] == allowed


@pytest.mark.parametrize(
    ("check", "arguments", "error", "message"),
    [
        (check_choice, ["u", ("up", "down")], ValueError, r"('up', 'down'), got 'u'"),
        (check_choice, [None, ("up",)], ValueError, "must be one of .*got None"),
        (check_bool, [1], TypeError, "way must be True or False, got 1"),
        (check_int, [True], TypeError, "way must be an integer, got True"),
        (check_int, [1.0], TypeError, "way must be an integer, got 1.0"),
        (check_int, [0], ValueError, "way must be at least 1, got 0"),
        (check_int, [1, 2], ValueError, "way must be at least 2, got 1"),
        (check_number, [True], TypeError, "way must be a number, got True"),
        (check_number, ["1"], TypeError, "way must be a number, got '1'"),
        (check_number, [-0.1], ValueError, "finite and at least 0, got -0.1"),
        (check_number, [0, 0], ValueError, "way must be finite and above 0, got 0"),
        (check_number, [math.nan], ValueError, "way must be finite .*got nan"),
        (check_number, [math.inf, 0], ValueError, "way must be finite .*got inf"),
    ],
)
def test_checks_say_what_was_expected(
    check, arguments: list, error, message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(").replace(")", r"\)")):
        check("way", *arguments)
