"""Reports, the page of the documentation, and which checks there are."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from fpn_necks.costs.paper_claims import CLAIMS
from fpn_necks.gpu_checks.limits import Limits, measure_limits
from fpn_necks.gpu_checks.neck_costs import MODES, Autocast
from fpn_necks.gpu_checks.outcomes import Outcome
from fpn_necks.gpu_checks.page import BEGIN, END, write_page
from fpn_necks.gpu_checks.report import markdown
from fpn_necks.gpu_checks.settings import QUICK, Settings

FACTS = dict(device="Some GPU", torch="2.11", capability="9.0", memory_bytes=2**37)
SETTING = dict(date="2030-01-02", command="check", minutes=9, scale=asdict(QUICK))
TIMES = dict(milliseconds=2.0, ratio=1.25, ratio_interval=[1.2, 1.3])


def neck_numbers(peak: int) -> dict:
    return dict(
        parameters=3_300_000,
        multiply_adds=10**11,
        peak_bytes=peak,
        forward=TIMES,
        forward_and_backward=TIMES,
        device_multiply_adds_per_second=2.5e13,
        device_bytes_per_second=4e12,
        share_of_limit=0.4,
    )


def test_report() -> None:
    outcomes = [
        Outcome("parity", "AugFPN", "passed", "", dict(output_error=2e-6), 1.0),
        Outcome("parity", "DRFPN", "failed", "off by 1", dict(output_error=1.0)),
        Outcome("training", "x [bf16]", "unsupported", "no bfloat16"),
        Outcome("compile", "a", "not run", "time"),
        Outcome("compile", "b", "not run", "time"),
        Outcome("neck-costs", "FPN (mmdet) [fp16]", "passed", "", neck_numbers(10**8)),
        Outcome("neck-costs", "DRFPN [fp16]", "passed", "", neck_numbers(3 * 10**8)),
    ]
    text = markdown(FACTS, SETTING, outcomes)
    assert "2030-01-02, Some GPU (compute capability 9.0, 128 GiB); torch 2.11" in text
    assert "3 passed, 1 failed, 1 unsupported, 2 not run" in text
    assert "- parity, DRFPN: off by 1" in text
    assert "- training, x [bf16]: no bfloat16" in text
    assert "- compile, time: a; b" in text
    assert "output 1.0e+00 (DRFPN)" in text
    assert "autocast float16, 64x96, batch 2" in text
    assert "25.0 T multiply-adds/s, 4000 GB/s" in text
    row = "| DRFPN | 3.30 | 100.0 | 2.00 | 1.25 (1.20 to 1.30) | 2.00 "
    assert f"{row}| 1.25 (1.20 to 1.30) | 300 (x3.00) | 0.40 |" in text


def test_detectors_with_claims() -> None:
    def row(title: str) -> dict:
        stages = dict(backbone=1, neck=2, head=3, whole=6)
        times = {stage: TIMES for stage in stages}
        return dict(
            title=title,
            parameters=stages,
            multiply_adds=stages,
            inference=times,
            inference_peak_bytes=stages,
            train_step=TIMES,
            train_step_peak_bytes=5,
        )

    numbers = dict(
        detectors=[row("RetinaNet, FPN"), row("RetinaNet, AugFPN")],
        claims=[dict(claim=asdict(CLAIMS[0]), measured=TIMES)],
    )
    outcome = Outcome("detector-costs", "RetinaNet, AugFPN", "passed", "", numbers)
    text = markdown(FACTS, SETTING, [outcome])
    assert "RetinaNet with ResNet-50, 64x96, batch 2" in text
    claimed = "| RetinaNet, AugFPN | inference | 13.4 → 11.1 fps | 1.21 "
    assert f"{claimed}| 1.25 (1.20 to 1.30) |" in text


def test_page(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(page, "new\n")
    write_page(page, "newer\n")
    assert page.read_text() == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"
    for text in (f"{END} {BEGIN}", BEGIN, f"{BEGIN}{END}{END}"):
        page.write_text(text)
        with pytest.raises(ValueError, match="must have the lines"):
            write_page(page, "new")
        assert page.read_text() == text


def test_the_documentation_has_the_markers() -> None:
    page = Path(__file__).parents[2] / "docs" / "gpu.md"
    assert page.read_text().count(BEGIN) == page.read_text().count(END) == 1


def test_limits() -> None:
    limits = Limits(multiply_adds=10.0, bytes=4.0)
    assert limits.seconds(20, 4) == 2 and limits.seconds(10, 12) == 3
    found = measure_limits(torch.device("cpu"), runs=1)
    assert found.multiply_adds > 1e6 and found.bytes > 1e6


def test_modes() -> None:
    conv = Autocast(torch.nn.Conv2d(1, 1, 1), "cpu", torch.bfloat16)
    assert conv(torch.ones(1, 1, 2, 2)).dtype == torch.bfloat16
    assert [m.bytes_per_number for m in MODES.values()] == [4, 4, 2, 2, 2]


def test_settings_survive_json() -> None:
    settings = Settings(device="cpu", only=("a", "b"), quick=True)
    fields = settings.to_json() | dict(only=["a", "b"])
    assert Settings.from_json(fields) == settings
    assert settings.scale is QUICK and not settings.on_gpu
    assert replace(settings, device="cuda:1").on_gpu
