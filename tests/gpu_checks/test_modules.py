"""The checks of single modules: all pass here, and each finds what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

import fpn_necks.auxiliary as auxiliary
import fpn_necks.dense_heads
import fpn_necks.necks
import fpn_necks.roi_extractors
from fpn_necks.costs.detector_configs import ConfigArgument, read_detector_config
from fpn_necks.gpu_checks import (
    compilation,
    environment,
    golden,
    gradients,
    parity,
    precision,
)
from fpn_necks.gpu_checks.outcomes import CheckFailed
from fpn_necks.gpu_checks.settings import GRADCHECK, QUICK
from fpn_necks.gpu_checks.subjects import DETECTORS, MODULES
from tests.golden import COPIES
from tests.gpu_checks import broken
from tests.gpu_checks.broken import subject
from tests.stack import needs_whole_graphs

CPU = torch.device("cpu")
EAGER = replace(QUICK, compiler="eager")
TINY = replace(GRADCHECK, size=(16, 24), batch=1)
BY_NAME = {module.name: module for module in MODULES}
CHECKS: dict[str, Callable[..., dict]] = {
    "parity": lambda s: parity.check_module(s, QUICK, CPU),
    "gradients": lambda s: gradients.check_parameters(s, QUICK, CPU),
    "gradcheck": lambda s: gradients.check_differences(s, CPU, TINY),
    "bf16": lambda s: precision.check_autocast(s, QUICK, CPU, torch.bfloat16),
    "channels-last": lambda s: precision.check_channels_last(s, QUICK, CPU),
    "compile": lambda s: compilation.check_compiled(s, EAGER, CPU),
}
every_check = pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, marks=needs_whole_graphs if check == "compile" else ())
        for check in CHECKS
    ],
)


def types_in(node: object) -> set[str]:
    if isinstance(node, list | tuple):
        return set().union(*map(types_in, node)) if node else set()
    if not isinstance(node, dict):
        return set()
    own = {node["type"]} if isinstance(node.get("type"), str) else set()
    return own | types_in(list(node.values()))


def test_nothing_registered_is_missing() -> None:
    """Alone, and inside detectors that train."""
    registered = {*fpn_necks.necks.__all__} - {"PyramidNeck"}
    registered |= {*fpn_necks.dense_heads.__all__}
    registered |= {
        name for name in fpn_necks.roi_extractors.__all__ if name.endswith("Extractor")
    }
    # Subclasses of mmdet's that change numbers alone: anchors, and where RoIs end.
    registered -= {"RoundedAnchorGenerator", "InclusiveRoIExtractor"}
    alone = types_in([config for m in MODULES for config in m.make(QUICK)])
    assert registered <= alone
    forms = {
        name
        for name in auxiliary.__all__
        if isinstance(kind := getattr(auxiliary, name), type)
        and issubclass(kind, auxiliary.AuxiliaryForm)
        and kind is not auxiliary.AuxiliaryForm
    }
    models = [_model(name) for name in DETECTORS.values()]
    # RoIAuxiliary has the extractor of all levels as its default.
    assert "AllLevelRoIExtractor" in {
        type(m).__name__ for m in _built(DETECTORS, "Soft-RoI").modules()
    }
    assert registered | forms <= types_in(models) | {"AllLevelRoIExtractor"}
    assert all(MODELS.get(name) is not None for name in registered | forms)


def _model(name: str) -> Config:
    return read_detector_config(ConfigArgument(name))[0].model


def _built(detectors: dict[str, str], part: str) -> torch.nn.Module:
    (name,) = (name for title, name in detectors.items() if part in title)
    with torch.device("meta"):
        return MODELS.build(_model(name))


@pytest.mark.parametrize("name", ["S-α FPN, attention", "FPN + ASFF"])
@every_check
def test_checks_pass(check: str, name: str) -> None:
    if (check, name) == ("compile", "FPN + ASFF"):
        pytest.skip("takes long: in the full suite")
    numbers = CHECKS[check](BY_NAME[name])
    for key in ("output_error", "gradient_error"):
        # Something was measured: two ways to compute do not round alike.
        if key in numbers and check in ("parity", "bf16"):
            assert 0 < numbers[key] < 0.05


@pytest.mark.long
@pytest.mark.parametrize("name", BY_NAME)
@every_check
def test_checks_pass_for_all(check: str, name: str) -> None:
    if check == "compile" and not BY_NAME[name].compiles:
        pytest.skip("mmcv's operators are not traced")
    CHECKS[check](BY_NAME[name])


@every_check
def test_a_plain_module_passes(check: str) -> None:
    """So that what the broken ones fail at is their one fault."""
    CHECKS[check](subject(broken.Plain))


@pytest.mark.parametrize(
    ("check", "kind", "message"),
    [
        ("parity", broken.OtherInSinglePrecision, "the error of an output is 0.01"),
        ("parity", broken.NaNOutput, "output 0 is not finite"),
        ("parity", broken.NaNGradient, "gradient of .* is not finite"),
        ("gradients", broken.NoGradient, "spare: no gradient"),
        ("gradients", broken.ZeroGradient, "spare: zero"),
        ("gradients", broken.NaNGradient, "convs.0.weight: not finite; convs.0.bias"),
        ("gradcheck", broken.WrongGradient, "Jacobian"),
        ("bf16", broken.OverflowsInHalf, "output 0 is not finite|error of an output"),
        ("bf16", broken.NaNGradient, "the gradient of .* is not finite"),
        ("channels-last", broken.DependsOnLayout, "the error of an output is"),
        pytest.param(
            *("compile", broken.OtherWhenCompiled, "the output error is 0.01"),
            marks=needs_whole_graphs,
        ),
    ],
)
def test_checks_find_what_is_wrong(check: str, kind: type, message: str) -> None:
    with pytest.raises(CheckFailed, match=message):
        CHECKS[check](subject(kind))


@needs_whole_graphs
def test_too_many_compilations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "MOST_COMPILATIONS", 1)
    with pytest.raises(CheckFailed, match="2 compilations for two sizes, expected"):
        CHECKS["compile"](subject(broken.Plain))


@needs_whole_graphs
def test_a_graph_break_is_an_error() -> None:
    with pytest.raises(Exception, match=r"item|data-dependent|Unsupported"):
        CHECKS["compile"](subject(broken.BreaksTheGraph))


def test_parity_sees_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong on one side only, as of a device."""

    def change(self, y):
        return broken._WrongBackward.apply(y) if y.dtype == torch.float32 else y

    monkeypatch.setattr(broken.Plain, "change", change)
    with pytest.raises(CheckFailed, match="the error of the gradient of"):
        CHECKS["parity"](subject(broken.Plain))


@pytest.mark.parametrize("path", golden.list_files(COPIES), ids=lambda p: p.stem)
def test_golden_numbers(path: Path) -> None:
    numbers = golden.check_file(path, CPU)
    assert max(numbers["output_error"], numbers["gradient_error"]) < 1e-4


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("out/0", "error of output 0"),
        (
            "grad/lateral_convs.0.conv.weight",
            "the gradient of lateral_convs.0.conv.weight",
        ),
    ],
)
def test_other_golden_numbers_are_seen(tmp_path: Path, key: str, message: str) -> None:
    path = COPIES / "drfpn_retinanet_train.npz"
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed[key] = changed[key] * 1.1
    np.savez(tmp_path / path.name, **changed)
    with pytest.raises(CheckFailed, match=message):
        golden.check_file(tmp_path / path.name, CPU)


def test_files_of_parts_are_left_out() -> None:
    assert "drfpn_srb" not in {path.stem for path in golden.list_files(COPIES)}
    with pytest.raises(ValueError, match=r"drfpn_srb\.npz is of no whole"):
        golden.read_file(COPIES / "drfpn_srb.npz")


@pytest.mark.parametrize("name", environment.OPERATIONS)
def test_operations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.check_operation(name, CPU)

    def wrong(device):
        found, expected = operation(device)
        return [found[0] + 0.01, *found[1:]], expected

    def missing(device):
        raise RuntimeError("nms_impl: implementation for device cuda:0 not found.")

    operation = environment.OPERATIONS[name]
    monkeypatch.setitem(environment.OPERATIONS, name, wrong)
    with pytest.raises(CheckFailed, match="the error of"):
        environment.check_operation(name, CPU)
    monkeypatch.setitem(environment.OPERATIONS, name, missing)
    with pytest.raises(CheckFailed, match="does not run: nms_impl") as error:
        environment.check_operation(name, CPU)
    assert ("tools/setup.sh" in str(error.value)) == name.startswith("mmcv")


def test_facts() -> None:
    facts = environment.gather_facts(CPU)
    assert facts["torch"] == torch.__version__ and facts["mmdet"] and facts["device"]
    environment.check_device(CPU)
