from pathlib import Path

import pytest

from fpn_necks.costs.configs import (
    ConfigArgument,
    parse_config_argument,
    read_detector_config,
)

AUGFPN = "retinanet_r50_augfpn_1x_coco"


def read(text: str):
    return read_detector_config(parse_config_argument(text))


def test_options_behind_the_config() -> None:
    argument = parse_config_argument(
        "a/b.py@model.auxiliary=None,model.strides=8,16,model.sizes=[1,2],"
        "model.neck.type=FPN,model.rate=0.5"
    )
    assert argument.name == "a/b.py"
    assert argument.options == {
        "model.auxiliary": None,
        "model.strides": [8, 16],
        "model.sizes": [1, 2],
        "model.neck.type": "FPN",
        "model.rate": 0.5,
    }
    assert argument.title.startswith("b, auxiliary=None,strides=8,16,")
    assert parse_config_argument("name") == ConfigArgument("name")


def test_a_file_may_have_the_sign_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mine@home=1.py"
    path.write_text("model = dict(type='RetinaNet')\n")
    assert parse_config_argument(str(path)) == ConfigArgument(str(path))
    assert read(str(path))[0].model.type == "RetinaNet"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@model.neck=1", "names no config"),
        ("config@", "'' in 'config@' must be key=value"),
        ("config@model.neck", "'model.neck' in .* must be key=value"),
        ("config@a=[1,2", "Imbalanced brackets"),
    ],
)
def test_what_is_no_argument(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_config_argument(text)


def test_a_config_is_a_name_a_path_or_one_of_mmdets(tmp_path: Path) -> None:
    by_name, left_out = read(AUGFPN)
    assert by_name.model.neck.type == "AugFPN" and left_out == []
    by_name.dump(tmp_path / "mine.py")
    by_path, _ = read(f"{tmp_path / 'mine.py'}@model.auxiliary=None")
    assert by_path.model.neck == by_name.model.neck
    assert by_path.model.auxiliary is None
    for ending in ("", ".py"):
        base, _ = read(f"mmdet::retinanet/retinanet_r50_fpn_1x_coco{ending}")
        assert base.model.neck.type == "FPN"


def test_a_new_type_leaves_out_what_it_does_not_take() -> None:
    config, left_out = read(f"{AUGFPN}@model.type=RetinaNet,model.neck.type=FPN")
    assert left_out == ["model.auxiliary", "model.neck.residual_to_extra_level"]
    assert config.model.neck.type == "FPN"
    assert config.model.neck.num_outs == 5  # which it takes
    kept, left_out = read(f"{AUGFPN}@model.neck.type=SAlphaFPN")
    assert left_out == ["model.neck.residual_to_extra_level"]
    assert kept.model.neck.start_level == 1


def test_errors_of_configs(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("model = 1 / 0\n")
    with pytest.raises(ValueError, match=f"{broken} cannot be read: .*zero"):
        read(str(broken))
    with pytest.raises(
        FileNotFoundError, match="no shipped config is named 'augfpn_r50'"
    ):
        read("augfpn_r50")
    with pytest.raises(FileNotFoundError, match="there is no config"):
        read(str(tmp_path / "a" / "none.py"))
    with pytest.raises(
        ValueError, match="option model.backbone.depth.x=1 does not fit"
    ):
        read(f"{AUGFPN}@model.backbone.depth.x=1")
