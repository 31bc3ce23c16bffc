"""Which versions are accepted, and what is said about the others."""

import subprocess
import sys
from pathlib import Path

import pytest

from fpn_necks.compatibility import version_fault, wanted_range

CLONE = Path(__file__).parents[1]
WORKING = {
    "torch": "2.11.0+cu130",
    "mmengine": "0.10.7",
    "mmcv": "2.1.0",
    "mmdet": "3.3.0",
}


@pytest.mark.parametrize(
    ("package", "version"),
    [
        *WORKING.items(),
        ("torch", "2.1"),
        ("torch", "9.0.1"),  # no upper limit
        ("mmengine", "0.10.0"),
        ("mmcv", "2.3.1"),  # of the maintained fork
        ("mmdet", "3.4.0-rc"),
    ],
)
def test_accepted(package: str, version: str) -> None:
    assert version_fault(package, version) == ""


@pytest.mark.parametrize(
    ("package", "version", "words"),
    [
        ("torch", "2.0.1", "2.0.1 is too old"),
        ("mmengine", "0.9.1", "0.9.1 is too old"),
        ("mmengine", "1.0.0", "1.0.0 is too new"),
        ("mmcv", "1.7.2", "1.7.2 is too old"),
        ("mmcv", "3.0", "3.0 is too new"),
        ("mmdet", "2.28.2", "2.28.2 is too old"),
        ("mmdet", "4.0.0", "4.0.0 is too new"),
        ("mmdet", "unknown", "unknown is too old"),
        ("mmdet", None, "is not installed"),
    ],
)
def test_refused(package: str, version: str | None, words: str) -> None:
    fault = version_fault(package, version)
    assert fault.startswith(f"{package} {words}")
    assert package + wanted_range(package) in fault and "Remedy: " in fault


# Real imports of fpn_necks with stand-ins for the libraries: fast, since no torch.


def import_with(folder: Path, modules: dict[str, str]) -> str:
    """Import fpn_necks with fake libraries; return what it wrote to standard error."""
    fakes = {
        name: f"__version__ = {version!r}\n" for name, version in WORKING.items()
    } | modules
    for name, text in fakes.items():
        (folder / f"{name}.py").write_text(text)
    code = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(CLONE)!r}]\n"
    result = subprocess.run(
        [sys.executable, "-c", code + "import fpn_necks"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    return result.stderr


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            {"mmcv": "__version__ = '1.7.0'"},
            "mmcv 1.7.0 is too old (wanted: mmcv>=2.1.0,<3)",
        ),
        (
            {"mmdet": "assert False, 'MMCV==2.2.0 is used but incompatible.'"},
            "mmdet refuses the libraries beside it: MMCV==2.2.0",
        ),
        (
            {"mmdet": "import no_such_module"},
            "mmdet is installed but cannot be imported (ModuleNotFoundError: No module",
        ),
        ({"mmdet": ""}, "mmdet is not installed, or hidden by something else"),
    ],
)
def test_import_names_what_is_wrong(
    modules: dict[str, str], message: str, tmp_path: Path
) -> None:
    text = import_with(tmp_path, modules)
    assert "ImportError: fpn_necks cannot work" in text
    assert message in text
    assert "python -m fpn_necks doctor" in text
