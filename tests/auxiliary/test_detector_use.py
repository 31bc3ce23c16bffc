"""What users do with a supervised detector, from a config to a copy of the model."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from mmdet.models.detectors import FCOS
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import Runner, load_checkpoint

from fpn_necks.auxiliary import AuxiliaryLosses, detectors
from tests.auxiliary.cases import batch, build, detector_config, losses_of
from tests.tiny_detectors import make_tiny
from tests.tiny_sets import write_coco_set

# Copies


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


# Configs

USER_CONFIG = """
_base_ = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)
model = dict(type="AuxiliaryFasterRCNN", auxiliary=dict(type="RoIAuxiliary"))
"""


@pytest.fixture
def user_config(tmp_path: Path) -> Config:
    path = tmp_path / "mine.py"
    path.write_text(USER_CONFIG)
    write_coco_set(tmp_path / "set", empty_last=True)
    config = make_tiny(Config.fromfile(path), tmp_path / "set")
    config.work_dir = str(tmp_path / "work")
    config.log_level = "WARNING"
    return config


def test_training_by_the_runner(user_config: Config) -> None:
    """A run's checkpoint is one of the plain detector, and more."""
    runner = Runner.from_cfg(user_config)
    trained = runner.train()
    assert runner.iter == 2
    scalars = runner.message_hub.log_scalars
    assert "train/aux.loss_cls.m2" in scalars
    [checkpoint] = Path(user_config.work_dir).glob("epoch_*.pth")
    user_config.model.auxiliary = None
    model = MODELS.build(user_config.model)
    assert model.auxiliary is None
    plain = copy.deepcopy(user_config.model)
    plain.type = "FasterRCNN"
    del plain["auxiliary"]
    expected = MODELS.build(plain)
    assert list(model.state_dict()) == list(expected.state_dict())
    results = []
    images, samples = batch("full")
    for detector in (trained, model, expected):
        if detector is not trained:
            load_checkpoint(detector, str(checkpoint), map_location="cpu")
        detector.eval()
        with torch.no_grad():
            results.append(detector(images, copy.deepcopy(samples), mode="tensor"))
    for other in results[1:]:
        for found, value in zip(other[0], results[0][0], strict=True):
            assert torch.equal(found, value)


def test_seeded_runs_have_the_same_main_weights(user_config: Config) -> None:
    """The random numbers after building and initialising are the plain detector's."""
    drawn = []
    for auxiliary in (dict(type="RoIAuxiliary"), None):
        user_config.model.auxiliary = auxiliary
        build(user_config.model)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)


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
