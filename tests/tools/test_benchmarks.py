"""The benchmark scripts run and print their ratios; they prove no speed here."""

import re
import subprocess
import sys
from pathlib import Path

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
