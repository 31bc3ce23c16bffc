"""The benchmark scripts run and print their ratios; they prove no speed here."""

import json
import re
import subprocess
import sys
from pathlib import Path

import fpn_necks.necks

ANALYSIS = Path(__file__).parents[2] / "tools" / "analysis"


def run(script: str, *arguments: object) -> str:
    result = subprocess.run(
        [sys.executable, ANALYSIS / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_level_counts() -> None:
    options = ("--images", 60, "--boxes", 400, "--sample", 5, "--runs", 1)
    output = run("benchmark_level_counts.py", *options)
    assert "same counts on the sample: yes" in output
    assert re.search(r"ratio full matrix / count_best_levels, per box: \d+", output)


def test_necks(tmp_path: Path) -> None:
    written = tmp_path / "numbers.json"
    options = ("--size", 64, 96, "--pairs", 1, "--device", "cpu", "--json", written)
    output = run("benchmark_necks.py", *options)
    rows = [line.split(" | ") for line in output.splitlines() if "FPN" in line][1:]
    numbers = json.loads(written.read_text())["necks"]
    assert len(rows) == len(numbers) == 11  # CARAFE has no CPU operator
    for row in rows:
        assert re.fullmatch(r"\d+\.\d\d \(\d+\.\d\d to \d+\.\d\d\)", row[4])
    measured = {name.split(": ")[1].split(",")[0] for name in numbers}
    for neck in set(fpn_necks.necks.__all__) - {"PyramidNeck"}:
        label = neck.replace("SAlphaFPN", "S-α FPN").replace("CFGFPN", "CFG-FPN")
        assert any(label in name for name in measured), f"{neck} is not measured"
    base = numbers["faster-rcnn: FPN (mmdet)"]
    s_alpha = numbers["faster-rcnn: S-α FPN, fixed"]
    for same in ("parameters", "multiply_adds"):
        assert base[same] == s_alpha[same]
