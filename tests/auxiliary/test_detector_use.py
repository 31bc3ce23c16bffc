"""What users do with a supervised detector: copies, and classes of their own."""

import copy
import pickle

import pytest
import torch
from mmdet.models.detectors import FCOS
from mmdet.registry import MODELS
from mmengine.model import ExponentialMovingAverage

from fpn_necks.auxiliary import AuxiliaryLosses, detectors
from tests.auxiliary.cases import build, detector_config, losses_of


@pytest.mark.parametrize("name", detectors.TWINS)
def test_every_twin(name: str) -> None:
    kind = MODELS.get(name)
    assert pickle.loads(pickle.dumps(kind)) is kind is getattr(detectors, name)
    original = MODELS.get(name.removeprefix("Auxiliary"))
    assert kind.__mro__[1:3] == (AuxiliaryLosses, original)
    assert original.__name__ in kind.__doc__
    # Nothing that testing calls is overridden.
    own = {key for base in kind.__mro__[:2] for key in vars(base) if key[0] != "_"}
    assert own == {"loss"}
    assert not {"_forward", "_load_from_state_dict"} & set(vars(AuxiliaryLosses))


@pytest.mark.parametrize(
    "name", ["retinanet-dense", "fcos-augfpn-roi", "mask-rcnn-augfpn"]
)
def test_copies_of_a_model_that_trains(name: str) -> None:
    """EMA's copy, a deepcopy and a pickled one do what the model does."""
    model = build(detector_config(name))
    expected = losses_of(model, "mixed")
    total, _ = model.parse_losses(expected)
    total.backward()
    average = ExponentialMovingAverage(model)
    copies = [average.module, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    average.update_parameters(model)
    for other in copies:
        found = losses_of(other.train(), "mixed")
        assert list(found) == list(expected)
        for key, value in model.parse_losses(found)[1].items():
            assert value == model.parse_losses(expected)[1][key], key
        own, others = (list(map(id, x.parameters())) for x in (model, other))
        assert not set(own) & set(others)
    # The copies have branches of their own: training one leaves the model alone.
    before = copy.deepcopy(model.state_dict())
    total, _ = copies[1].parse_losses(losses_of(copies[1], "full"))
    total.backward()
    torch.optim.SGD(copies[1].parameters(), lr=0.1).step()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_no_auxiliary_is_the_plain_detector() -> None:
    """And a seed draws the same after building, with auxiliary losses or without."""
    name, drawn = "faster-rcnn-asff", []
    config = detector_config(name) | dict(auxiliary=None)
    for settings in (detector_config(name), config, detector_config(name, None)):
        model = build(settings)
        drawn.append(torch.rand(3))
    expected, found = model, build(config)
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
    assert found.auxiliary is None
    assert list(found.state_dict()) == list(expected.state_dict())
    losses = losses_of(found, "mixed"), losses_of(expected, "mixed")
    torch.testing.assert_close(*losses, rtol=0, atol=0)


def test_detectors_of_ones_own() -> None:
    class Mine(FCOS):
        """A user's detector, which no twin was made for."""

    class AuxiliaryMine(AuxiliaryLosses, Mine):
        """One line makes it."""

    config = detector_config("fcos-dense")
    config.type = AuxiliaryMine
    found = losses_of(build(config), "mixed")
    expected = losses_of(build(detector_config("fcos-dense")), "mixed")
    assert list(found) == list(expected)
