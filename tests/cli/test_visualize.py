"""`fpn-necks visualize`: pictures in place, one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch
from matplotlib.figure import Figure

from fpn_necks.cli import main as command_line
from fpn_necks.detectors import load_detector
from tests.visualization.pictures import (
    ASFF_ON_S_ALPHA,
    check_picture,
    keep_figures,
    write_config,
    write_image,
    write_plain,
)


def main(words: list[str]) -> int:
    return command_line(["visualize", *words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configs, checkpoints, images and a work dir."""
    folder = tmp_path_factory.mktemp("visualize")
    write_plain(folder)
    asff = write_config(folder, ASFF_ON_S_ALPHA).rename(folder / "asff.py")
    (folder / "images" / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.png", "sub/c.png")):
        write_image(folder / "images", name, seed=i)
    work_dir = folder / "work_dir"
    (work_dir / "20260101" / "vis_data").mkdir(parents=True)
    lines = [
        {f"alpha/neck.0.fusion_factor.{i}": 1 / s, "step": s}
        for s in (1, 2, 4)
        for i in (0, 1)
    ]
    text = "\n".join(map(json.dumps, lines))
    (work_dir / "20260101" / "vis_data" / "scalars.json").write_text(text)
    model = load_detector(asff, None)
    torch.nn.init.zeros_(model.neck[0].fpn_convs[0].conv.weight)
    torch.save(dict(state_dict=model.state_dict(), meta={}), work_dir / "epoch_3.pth")
    (work_dir / "last_checkpoint").write_text("/elsewhere/epoch_3.pth")
    (folder / "broken.png").write_text("no image")
    return folder


def test_features_of_a_folder_and_two_detectors(
    folder: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    figures: list[Figure] = keep_figures(monkeypatch)
    images = folder / "images"
    command = [
        folder / "asff.py", "none", images / "a.png", images / "sub", "--out", tmp_path,
        "--what", "features", "--levels", "P3", "--device", "cpu",
        "--compare", folder / "asff.py", folder / "work_dir",
    ]  # fmt: skip
    assert main([str(part) for part in command]) == 0
    paths = [tmp_path / f"{name}_features.png" for name in "ac"]
    written = capsys.readouterr().out.splitlines()
    assert [Path(line) for line in written if line.endswith(".png")] == paths
    assert sorted(tmp_path.iterdir()) == paths
    texts = check_picture(paths[0], figures[0])
    assert "a.png: feature maps by level, one colour scale per kind of map" in " ".join(
        text.replace("\n", " ") for text in texts
    )
    # The checkpoint is of another P3: its weights are zero.
    maps = [
        image.get_array()
        for axes in figures[0].axes
        for image in axes.images
        if image.get_cmap().name == "inferno"
    ]
    assert len(maps) == 4  # of FPN and ASFF, each of both
    assert float(maps[0].std()) > 0 == float(maps[1].std())
    before = [path.read_bytes() for path in paths]
    assert main([str(part) for part in command]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("a_features.png exists; --force overwrites it")
    assert [path.read_bytes() for path in paths] == before
    assert main([str(part) for part in (*command, "--force")]) == 0


@pytest.mark.parametrize("checkpoint", ["none", "work_dir"])
def test_fusion_factors_of_a_config_with_options(
    folder: Path, tmp_path: Path, monkeypatch, checkpoint: str
) -> None:
    figures = keep_figures(monkeypatch)
    source = checkpoint if checkpoint == "none" else str(folder / checkpoint)
    command = [str(folder / "asff.py"), source, "--out", str(tmp_path)]
    command += ["--device", "cpu", "--what", "fusion-factors"]
    command += ["--cfg-options", "model.neck.0.fusion_factor=0.75"]
    assert main(command) == 0
    texts = check_picture(tmp_path / "fusion-factors.png", figures[0])
    assert ("iteration" in texts) == (checkpoint == "work_dir")
    assert texts.count("0.750") == (2 if checkpoint == "none" else 0)
    assert "P3 from P4" in texts


def test_detections(folder: Path, tmp_path: Path) -> None:
    command = [str(folder / "plain.py"), "none", str(folder / "images" / "b.png")]
    command += ["--what", "detections", "--score-thr", "0", "--out", str(tmp_path)]
    assert main([*command, "--device", "cpu"]) == 0
    picture = cv2.imread(str(tmp_path / "b_detections.png"))
    assert picture.std() > 5


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plain.py none images/a.png --what asff-weights", "has no ASFF"),
        ("plain.py none images/a.png --what drfpn-sampling", "no spatial refinement"),
        ("plain.py none images/a.png --what grouping", "groups no features"),
        ("plain.py none images/a.png --what uncertainty", "has no auxiliary heads"),
        ("plain.py none images/a.png --what soft-roi-ratios", "no SoftRoIExtractor"),
        ("plain.py none --what fusion-factors", "has no fusion factors"),
        ("plain.py none no.png --what features", "no.png is no image and no folder"),
        ("plain.py none broken.png --what features", "cannot read the image"),
        ("plain.py none --what features", "--what features needs at least one IMAGE"),
        ("plain.py no.pth images/a.png --what features", "there is no checkpoint"),
        (
            "plain.py images images/a.png --what features",
            "no training has saved a checkpoint in",
        ),
        ("plain.py none a.png --what detections --levels p3", "--levels says nothing"),
        ("plain.py none a.png --what grouping --channel 3", "--channel says nothing"),
        ("plain.py none images images --what features", "would become one picture"),
    ],
)
def test_wrong_input_is_answered_in_one_line(
    folder: Path, tmp_path: Path, capsys, monkeypatch, command: str, message: str
) -> None:
    monkeypatch.chdir(folder)
    out = tmp_path / "out"
    assert main([*command.split(), "--device", "cpu", "--out", str(out)]) == 2
    lines = [x for x in capsys.readouterr().err.splitlines() if "error" in x.lower()]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0]
    assert not out.exists()
