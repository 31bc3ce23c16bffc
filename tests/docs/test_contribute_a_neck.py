"""docs/write_a_neck.md, "Contribute it": the neck of the page becomes one of ours."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_write_a_neck import FILES, ROOT

NECK = "fpn_necks/necks/softmax_fpn.py"
ROW = '    NeckCase("softmax", "SoftmaxFPN", P2_P6_STRIDES, P2_P6),\n'
TOUCHED = {NECK, "fpn_necks/necks/__init__.py", "tests/neck_cases.py"}


def write_neck(clone: Path) -> None:
    """Do steps 1 to 3 of the page."""
    text = FILES["my_necks/softmax_fpn.py"]
    text = text.replace("from fpn_necks.necks import", "from .pyramid_neck import")
    (clone / NECK).write_text(text)
    package = clone / "fpn_necks/necks/__init__.py"
    names = package.read_text().replace('"SAlphaFPN"]', '"SAlphaFPN", "SoftmaxFPN"]')
    package.write_text(
        names.replace("\n\n__all__", "\nfrom .softmax_fpn import SoftmaxFPN\n\n__all__")
    )
    table = clone / "tests/neck_cases.py"
    table.write_text(table.read_text().replace("CASES = [\n", f"CASES = [\n{ROW}", 1))


def run_in(clone: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what git would clone, changes of the working tree included."""
    command = "git ls-files -z fpn_necks tests configs pyproject.toml".split()
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("needs a clone of the repository")
    for name in filter(None, found.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


@pytest.mark.long
def test_generic_tests_run_over_a_new_neck(clone: Path) -> None:
    """Its file, its import and one row: nothing else is edited."""
    write_neck(clone)
    changed = {
        str(path.relative_to(clone))
        for path in clone.rglob("*.py")
        if not (ROOT / path.relative_to(clone)).is_file()
        or path.read_bytes() != (ROOT / path.relative_to(clone)).read_bytes()
    }
    assert changed == TOUCHED
    tests = ("tests/necks/test_all_necks.py", "tests/necks/test_refusals.py")
    chosen = "(softmax or SoftmaxFPN or has_a_case) and not onnx"
    result = run_in(clone, *tests, "-k", chosen)
    assert result.returncode == 0, result.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) > 30
