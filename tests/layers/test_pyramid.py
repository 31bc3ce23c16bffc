import pytest
import torch

from fpn_necks.layers import (
    ExtraLevels,
    fit_to,
    resize_to,
    top_down,
)


def test_top_down_merges_from_the_top_and_keeps_its_input() -> None:
    calls = []

    def merge(connection, lateral, upper):
        calls.append((connection, lateral.item(), upper.item()))
        return lateral + upper

    laterals = [torch.tensor(v) for v in (1.0, 10.0, 100.0)]
    assert [m.item() for m in top_down(laterals, merge)] == [111.0, 110.0, 100.0]
    assert calls == [(1, 10.0, 100.0), (0, 1.0, 110.0)]
    assert [lateral.item() for lateral in laterals] == [1.0, 10.0, 100.0]


def test_resize_goes_to_the_size_of_the_target() -> None:
    x, target = torch.arange(6.0).reshape(1, 1, 2, 3), torch.zeros(1, 1, 3, 5)
    resized = resize_to(x, target, dict(mode="nearest", scale_factor=2))
    assert resized.shape == target.shape
    assert resized[0, 0, :, 0].tolist() == [0.0, 0.0, 3.0]


@pytest.mark.parametrize("source", ["on_input", "on_lateral", "on_output"])
def test_extra_convs_start_from_their_source(source: str) -> None:
    extra = ExtraLevels(2, source, relu_before_convs=True)
    first = {"on_input": 7, "on_lateral": 6, "on_output": 5}[source]
    assert extra.conv_in_channels(7, 6, 5) == [first, 5]
    maps = dict(
        backbone_map=torch.tensor([-1.0]),
        lateral=torch.tensor([-2.0]),
        output=torch.tensor([-3.0]),
    )
    seen = []

    def conv(x):
        seen.append(x.item())
        return x - 10

    extra([conv, conv], **maps)
    start = {"on_input": -1.0, "on_lateral": -2.0, "on_output": -3.0}[source]
    assert seen == [start, 0.0]  # no ReLU before the first conv, one before the second


@pytest.mark.parametrize("source", [False, "on_output"])
def test_context_joins_the_first_extra_level_and_what_is_derived_from_it(
    source: bool | str,
) -> None:
    output = torch.arange(16.0).reshape(1, 1, 4, 4)
    context = torch.tensor(100.0).reshape(1, 1, 1, 1)

    def conv(x):
        return x[:, :, ::2, ::2]  # what pooling with stride 2 does

    first, second = ExtraLevels(2, source)(
        [conv, conv], output, output, output, context
    )
    assert first.flatten().tolist() == [100.0, 102.0, 108.0, 110.0]
    assert second.flatten().tolist() == [100.0]


def test_pooled_levels_take_every_second_cell() -> None:
    output = torch.arange(15.0).reshape(1, 1, 3, 5)
    none = torch.zeros(1)
    first, second = ExtraLevels(2)([], none, none, output)
    assert first[0, 0].tolist() == [[0, 2, 4], [10, 12, 14]]
    assert second[0, 0].tolist() == [[0, 4]]


def test_fit_to_crops_and_leaves_alone() -> None:
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    assert fit_to(x, torch.zeros(1, 3, 4, 6)) is x
    assert torch.equal(fit_to(x, torch.zeros(1, 3, 3, 5)), x[:, :, :3, :5])
    assert fit_to(x, torch.zeros(1, 3, 5, 7)).shape == (1, 1, 5, 7)
