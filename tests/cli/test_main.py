"""`fpn-necks` and `python -m fpn_necks`, as users call them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpn_necks import __version__
from fpn_necks.cli import COMMANDS, main
from fpn_necks.cli.tiny_person import COMMANDS as TINY_PERSON
from fpn_necks.shipped_configs import config_path, configs_folder, list_configs

CLONE = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of configs like the shipped one."""
    names = [
        "_base_/datasets/tiny.py",
        "asff/retinanet_r50_asff_1x_coco.py",
        "asff/_base_/part.py",
        "aug_fpn/faster-rcnn_r50_aug-fpn_1x_coco.py",
        "drfpn/same.py",
        "other/same.py",
        "asff/metafile.yml",
    ]
    for name in names:
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "configs"


def call(
    *words: str, directory: Path, path: Path = CLONE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )


def test_list_leaves_out_base_files_and_is_sorted(folder: Path) -> None:
    assert list_configs(folder) == [
        "asff/retinanet_r50_asff_1x_coco.py",
        "aug_fpn/faster-rcnn_r50_aug-fpn_1x_coco.py",
        "drfpn/same.py",
        "other/same.py",
    ]


@pytest.mark.parametrize("prefix", ["", "asff/"])
@pytest.mark.parametrize("suffix", ["", ".py"])
def test_names(prefix: str, suffix: str, folder: Path) -> None:
    path = config_path(f"{prefix}retinanet_r50_asff_1x_coco{suffix}", folder)
    assert path == folder.resolve() / "asff/retinanet_r50_asff_1x_coco.py"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("retinanet_r50_asf_1x_coco", "asff/retinanet_r50_asff_1x_coco.py"),
        ("asff", "asff/retinanet_r50_asff_1x_coco.py"),
        ("faster-rcnn_r50_highfpn", "did you mean aug_fpn/"),  # the authors' name
        ("same", r"drfpn/same\.py or other/same\.py"),
        ("zzzz", "named 'zzzz' .`fpn-necks configs` lists all"),
    ],
)
def test_no_or_several_configs_of_a_name(name: str, said: str, folder: Path) -> None:
    with pytest.raises(LookupError, match=said):
        config_path(name, folder)
    assert config_path("drfpn/same", folder).is_file()


def test_folder_of_a_wheel_comes_first(tmp_path: Path) -> None:
    package = tmp_path / "fpn_necks"
    with pytest.raises(FileNotFoundError, match="incomplete"):
        configs_folder(package)
    for folder in (tmp_path / "configs", package / ".mim" / "configs"):
        folder.mkdir(parents=True)
        assert configs_folder(package) == folder


def test_each_shipped_config_is_found_by_its_listed_name(tmp_path: Path) -> None:
    listed = call("-mfpn_necks", "configs", directory=tmp_path)
    assert listed.returncode == 0, listed.stderr
    names = listed.stdout.split()
    assert names == list_configs()
    assert names
    for name in names:
        assert config_path(name).is_file()
    name = Path(names[0]).stem
    found = call("-mfpn_necks", "configs", name, directory=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"{CLONE.resolve() / 'configs' / names[0]}\n"


LIGHT = (["--version"], ["--help"], ["configs"], ["reproduce", "list"])
"""Commands that need neither torch nor OpenMMLab."""


@pytest.mark.parametrize(
    ("words", "start"),
    [*((words, "-m") for words in LIGHT), (LIGHT[2], "-Xdev"), (LIGHT[2], "script")],
)
def test_light_commands_import_neither_torch_nor_openmmlab(
    words: list[str], start: str, tmp_path: Path
) -> None:
    # Each of these would end the command, were it imported.
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("torch", "mmcv", "mmdet", "mmengine", "numpy"):
        (hidden / f"{name}.py").write_text("raise SystemExit('imported')")
    (hidden / "fpn_necks").symlink_to(CLONE / "fpn_necks")
    script = tmp_path / "bin" / "fpn-necks"  # as pip writes it
    script.parent.mkdir()
    script.write_text("import sys\nfrom fpn_necks.cli import main\nsys.exit(main())\n")
    command = {"-m": ["-m", "fpn_necks"], "-Xdev": ["-Xdev", "-mfpn_necks"]}
    begin = command.get(start, [str(script)])
    result = call(*begin, *words, directory=tmp_path, path=hidden)
    assert result.returncode == 0, result.stderr
    if words == ["--version"]:
        assert result.stdout == f"{__version__}\n"
    if words == ["--help"]:
        assert len(result.stdout.splitlines()) <= 25  # a screen
        assert set(COMMANDS) <= set(result.stdout.split())


def test_every_command_has_help(capsys: pytest.CaptureFixture) -> None:
    groups = {
        "tiny-person": TINY_PERSON,
        "reproduce": ("list", "show", "run", "report"),
    }
    for name in COMMANDS:
        for words in ([name], *([name, inner] for inner in groups.get(name, ()))):
            with pytest.raises(SystemExit) as stopped:
                main([*words, "--help"])
            assert stopped.value.code == 0
            assert f"usage: fpn-necks {' '.join(words)} " in capsys.readouterr().out


def test_other_modules_started_with_m_do_register(tmp_path: Path) -> None:
    # `python -m other` where other imports fpn_necks while -m is still at work.
    package = tmp_path / "other"
    package.mkdir()
    (package / "__init__.py").write_text("import fpn_necks\n")
    (package / "__main__.py").write_text("print('never reached')\n")
    (tmp_path / "torch.py").write_text("raise ImportError('torch was asked for')")
    result = call("-m", "other", directory=tmp_path)
    assert result.returncode != 0
    assert "torch was asked for" in result.stderr
