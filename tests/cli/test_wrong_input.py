"""Wrong input of every command: status 2, one or two lines, the user's words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fpn_necks.cli import main
from tests.tiny_sets import write_coco_set

BASE = "_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n"
CONFIGS = {
    "syntax.py": "model = dict(",
    "raises.py": "raise RuntimeError('as it is')",
    "settings.py": "lr = 0.1",
    "unknown.py": BASE + "model = dict(type='RetinaNt')",
    "highfpn.py": BASE + "model = dict(neck=dict(type='HighFPN'))",
    "argument.py": BASE + "model = dict(neck=dict(type='SAlphaFPN', fusion_factr=0.5))",
    "asff.py": BASE + "model = dict(neck=dict(type='ASFF'))",
    "lazy.py": "from mmdet.models import NoSuchHead\nmodel = dict(type=NoSuchHead)",
    "stages.py": "model = dict(neck=[dict(type='FPN')])",
    "fine.py": BASE,
}
WITH_CONFIG = {
    "alpha": "alpha {}",
    "detect": "detect {} other.pth image.png out",
    "visualize": "visualize {} none image.png --what features --device cpu",
    "warm-start": "warm-start {} other.pth out.pth",
    "benchmark": "benchmark {} --device cpu",
}
BAD_CONFIGS = {
    "missing.py": "there is no config missing.py",
    "syntax.py": "syntax.py cannot be read: SyntaxError",
    "raises.py": "raises.py cannot be read: as it is",
    "settings.py": "model",
    "unknown.py": "there is no type 'RetinaNt' in the mmdet::model registry; did you "
    "mean 'RetinaNet'?",
    "highfpn.py": "did you mean 'AugFPN'?",
    "argument.py": "SAlphaFPN takes no 'fusion_factr'; did you mean 'fusion_factor'?",
    "asff.py": "it is a second stage: neck=[dict(type='FPN', ...), dict(type='ASFF'",
    "lazy.py": "Failed to import NoSuchHead from mmdet.models in ",
    "retinanet_r50_asf_1x_coco": "did you mean asff/retinanet_r50_asff_1x_coco.py",
    ".": "is a folder",
    "fine.py --cfg-options model": "--cfg-options takes KEY=VALUE, got 'model'",
    "fine.py --cfg-options model.neck.9.a=1": "FPN takes no '9'",
}
OTHERS = {
    "": "required",
    "chekc fine.py": "'chekc' is unknown; did you mean 'check'?",
    "check missing.py": "there is no config missing.py",
    "check syntax.py": "syntax.py cannot be read",
    "check fine.py --cfg-options model": "takes KEY=VALUE",
    "check raises.py": "raises.py cannot be read",
    "check text.json": "text.json cannot be read",
    "check stages.py --cfg-options model.neck.9.a=1": "a=1 does not fit stages.py",
    "configs asf": "did you mean asff/",
    "doctor now": "unrecognized arguments: now",
    "alpha fine.py": "does not exist; set train_dataloader.dataset.data_root",
    "benchmark fine.py@model.neck.type=NoNeck": "there is no type 'NoNeck'",
    "benchmark fine.py@model.neck.in_channels=3,4 --size 32 32": "cannot be measured",
    "benchmark fine.py --pairs 0": "--pairs must be at least 1",
    "benchmark fine.py --size 16 64": "--size must be at least 32 32",
    "benchmark fine.py --boxes -1": "--boxes must be at least 0",
    "alpha none.json --detector retinanet": "there is no file",
    "alpha text.json --detector retinanet": "text.json is no COCO file",
    "alpha set/annotations.json": "a COCO json needs --detector",
    "alpha set/annotations.json --detector retinane": "there is no config retinane",
    "alpha fine.py --count boxes": "'boxes' is unknown",
    "benchmark fine.py --device tpu9": "Invalid device string: 'tpu9'",
    "benchmark fine.py --device cuda:99": "there is no such GPU here",
    "benchmark --necks AugFPN BiFPN": "no neck's name has 'BiFPN': FPN (mmdet); ",
    "alpha fine.py --cfg-options train_dataloader.dataset.data_root= "
    "train_dataloader.dataset.ann_file=text.json": (
        "cannot be read as CocoDataset expects it"
    ),
    "convert pafpn text.pth out.pth": "'pafpn' is unknown; choose from",
    "convert augfpn none.pth out.pth": "none.pth",
    "convert augfpn text.pth out.pth": "text.pth cannot be loaded",
    "detect fine.py none.pth image.png out": "there is no checkpoint none.pth",
    "detect fine.py text.pth image.png out": "text.pth cannot be loaded",
    "detect fine.py text.pth image.png out --overlap 640 6": "overlap_wh must be small",
    "detect fine.py text.pth image.png out --device cuda:77": "there is no such GPU",
    "detect fine.py text.pth none.png out": "none.png is no image and no folder",
    "visualize fine.py none image.png --what featurs": "did you mean 'features'?",
    "warm-start fine.py none.pth out.pth": "there is no file none.pth",
    "warm-start fine.py text.pth out.pth": "text.pth cannot be loaded",
    "warm-start fine.py other.pth out.pth": "nothing of the checkpoint fits",
    "warm-start fine.py other.pth fine.pth": "fine.pth exists",
    "reproduce show augfpn-table-9": "did you mean augfpn-table-",
    "reproduce run asff-table-1 --rows nothing": "nothing",
    "reproduce run augfpn-table-2": "there or name its folder with --data-root",
    "reproduce run asff-table-1 --seeds -1": "--seeds must be at least 0, got -1",
    "reproduce run s-alpha-table-1 --cfg-options model.backbone.depth.9=1": (
        "option model.backbone.depth.9=1 does not fit"
    ),
    "tiny-person": "required",
    "tiny-person tiles a b": "'tiles' is unknown; did you mean 'tile'?",
    "tiny-person tile none.json out.json": "none.json",
    "tiny-person tile text.json out.json --overlap 640 0": "overlap must be smaller",
    "tiny-person tile text.json out.json --keep 2": "keep must be finite and above 0",
    "tiny-person erase text.json . out": "text.json is no JSON",
    "tiny-person city-persons none.mat . out out.json": "none.mat",
    "tiny-person evaluate --gt none.json --detections text.json": "none.json",
    "tiny-person evaluate --gt text.json --detections text.json": "is no JSON",
    "tiny-person synthesize out --num-train 0": "num_train",
}


def _with(command: str, config: str) -> str:
    name, _, options = config.partition(" ")
    return f"{command.format(name)} {options}".rstrip()


CASES = OTHERS | {
    _with(command, config): said
    for name, command in WITH_CONFIG.items()
    for config, said in BAD_CONFIGS.items()
    if name == "warm-start" or config in ("missing.py", "argument.py")
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrong")
    for name, text in CONFIGS.items():
        (folder / name).write_text(text)
    for name in ("text.pth", "fine.pth", "text.json", "image.png"):
        (folder / name).write_text("no such file format")
    torch.save(dict(state_dict={"other": torch.zeros(1)}), folder / "other.pth")
    write_coco_set(folder / "set", num_images=1)
    (folder / "set" / "annotations.json").write_text("{}")
    return folder


@pytest.mark.parametrize("words", CASES)
def test_wrong_input_is_one_line_and_status_2(
    words: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    try:
        status = main(words.split())
    except SystemExit as stopped:  # of the parser
        status = stopped.code
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert status == 2, output
    assert CASES[words] in lines[-1] and lines[-1].startswith("error: ")
    assert len(lines) <= 2 and output.out == ""
    assert ".__init__" not in output.err and "Traceback" not in output.err
    assert sorted(folder.rglob("*")) == before


def test_traceback_is_shown_on_request(folder: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        main(["--traceback", "warm-start", str(folder / "raises.py"), "a", "b"])


def test_a_closed_pipe_is_no_traceback(folder: Path) -> None:
    command = f"{sys.executable} -m fpn_necks configs; echo $? >&2"
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        command, shell=True, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert result.stderr == "2\n"


@pytest.mark.parametrize("encoding", ["ascii", "gbk"])
@pytest.mark.parametrize(
    "words", [["--help"], ["reproduce", "list"], ["reproduce", "show", "α-\udcff"]]
)
def test_terminals_without_greek(words: list[str], encoding: str) -> None:
    """Also with a word that is not UTF-8, as a file name may be."""
    result = subprocess.run(
        [sys.executable, "-m", "fpn_necks", *words],
        env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"},
        capture_output=True,
    )
    assert result.returncode == (2 if "show" in words else 0), result.stderr
    assert b"Traceback" not in result.stderr and len(result.stderr.splitlines()) <= 2
