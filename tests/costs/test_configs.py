from pathlib import Path

import pytest

from fpn_necks.costs.report import read_config_argument as read

AUGFPN = "retinanet_r50_augfpn_1x_coco"


def test_changes_behind_the_config() -> None:
    title, config = read(
        f"augfpn/{AUGFPN}.py@model.auxiliary=None,model.bbox_head.x=8,16,"
        "model.bbox_head.y=[1,2],model.bbox_head.z=0.5"
    )
    assert title.startswith(f"{AUGFPN}, auxiliary=None, bbox_head.x=8,16, ")
    assert config.model.auxiliary is None
    head = config.model.bbox_head
    assert (head.x, head.y, head.z) == ([8, 16], [1, 2], 0.5)


def test_a_config_is_a_name_a_path_or_one_of_mmdets(tmp_path: Path) -> None:
    title, by_name = read(AUGFPN)
    assert (title, by_name.model.neck.type) == (AUGFPN, "AugFPN")
    by_name.dump(tmp_path / "mine@home=1.py")  # the sign may be in a file's name
    title, by_path = read(str(tmp_path / "mine@home=1.py"))
    assert (title, by_path.model.neck) == ("mine@home=1", by_name.model.neck)
    for ending in ("", ".py"):
        base = read(f"mmdet::retinanet/retinanet_r50_fpn_1x_coco{ending}")[1]
        assert base.model.neck.type == "FPN"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{AUGFPN}@model.neck", "takes KEY=VALUE, got 'model.neck'"),
        (f"{AUGFPN}@a=[1,2", "Imbalanced brackets"),
        (f"{AUGFPN}@model.backbone.depth.x=1", "model.backbone.depth.x=1 does not fit"),
    ],
)
def test_what_is_no_argument(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(text)
