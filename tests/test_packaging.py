"""What a wheel and an editable installation hold."""

import email
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fpn_necks import __version__
from fpn_necks.shipped_configs import list_configs

CLONE = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None,
    reason="hatchling, which builds the wheel, is not installed (tools/setup.sh does)",
)


def build(folder: Path, kind: str) -> zipfile.ZipFile:
    """Build the clone's wheel without network; kind is ``wheel`` or ``editable``."""
    code = f"import hatchling.build; hatchling.build.build_{kind}({str(folder)!r})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=CLONE, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return build(tmp_path_factory.mktemp("wheel"), "wheel")


def test_wheel_holds_the_package(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    sources = {
        path.relative_to(CLONE).as_posix()
        for kind in ("*.py", "*.yaml")
        for path in (CLONE / "fpn_necks").rglob(kind)
        if ".mim" not in path.parts
    }
    assert sources - names == set()
    assert "fpn_necks/py.typed" in names
    strangers = [
        name
        for name in names
        if not name.startswith(("fpn_necks/", f"fpn_necks-{__version__}.dist-info/"))
    ]
    assert strangers == []
    assert not any("__pycache__" in name for name in names)


def test_wheel_holds_configs_and_the_command_line(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    assert {f"fpn_necks/.mim/configs/{name}" for name in list_configs()} <= names
    for path in (CLONE / "configs").rglob("*"):
        if path.is_file() and path.suffix in {".py", ".md", ".yml"}:
            relative = path.relative_to(CLONE).as_posix()
            assert f"fpn_necks/.mim/{relative}" in names
    assert not [name for name in names if name.startswith("fpn_necks/.mim/tools")]
    has_index = (CLONE / "configs" / "model-index.yml").exists()
    assert ("fpn_necks/.mim/model-index.yml" in names) == has_index
    entry_points = f"fpn_necks-{__version__}.dist-info/entry_points.txt"
    assert "fpn-necks = fpn_necks.cli:main" in wheel.read(entry_points).decode()


def test_metadata_asks_for_no_library_of_openmmlab(wheel: zipfile.ZipFile) -> None:
    # pip would install mmdet over a fork that has its import name.
    text = wheel.read(f"fpn_necks-{__version__}.dist-info/METADATA").decode()
    metadata = email.message_from_string(text)
    assert metadata["Name"] == "fpn_necks"
    assert metadata["Version"] == __version__
    required = [
        line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line
    ]
    assert required
    for line in required:
        for library in ("mmcv", "mmdet", "mmengine", "mmdetection", "torch"):
            assert library not in line
    assert {"openmmlab", "onedl"} <= set(metadata.get_all("Provides-Extra", []))


def test_an_installed_wheel_finds_its_configs(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    wheel.extractall(site)
    (tmp_path / "elsewhere").mkdir()
    result = subprocess.run(
        [sys.executable, "-m", "fpn_necks", "configs", list_configs()[0]],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found = Path(result.stdout.strip())
    assert found == (site / "fpn_necks/.mim/configs" / list_configs()[0]).resolve()
    assert found.read_bytes() == (CLONE / "configs" / list_configs()[0]).read_bytes()


def test_editable_installation_holds_no_copies(tmp_path: Path) -> None:
    if importlib.util.find_spec("editables") is None:
        pytest.skip("editables, which hatchling needs, is not installed")
    names = build(tmp_path, "editable").namelist()
    inside = [name for name in names if ".dist-info/" not in name]
    assert len(inside) == 1
    assert inside[0].endswith(".pth")
