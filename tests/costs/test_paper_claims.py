import pytest

from fpn_necks.costs.paper_claims import CLAIMS, claims_of, methods_of

FPN = dict(neck=dict(type="FPN"), rpn_head=dict())


def faster_rcnn(neck, **changes):
    return dict(neck=neck, rpn_head=dict(), **changes)


def texts(model, base=FPN):
    return [claim.text for claim in claims_of(model, base)]


def test_ratios_are_of_time() -> None:
    by_text = {claim.text: claim.ratio for claim in CLAIMS}
    assert by_text["13.4 → 11.1 fps"] == pytest.approx(13.4 / 11.1)
    assert by_text["12.2 → 12.4 ms"] == pytest.approx(12.4 / 12.2)
    assert by_text["50 → 46 fps"] == pytest.approx(1.087, abs=1e-3)
    assert by_text["1.14 → 1.37 s per iteration"] == pytest.approx(1.202, abs=1e-3)
    assert by_text["15.6 → 15.6 fps"] == by_text["15 → 15 fps"] == 1


def test_stages_and_kind_of_detector_choose_the_claim_on_cfg_fpn() -> None:
    rates = ("12", "11.4", "10.9")
    for stages, rate in enumerate(rates, 1):
        neck = dict(type="CFGFPN", cascade_times=stages)
        assert texts(faster_rcnn(neck)) == [f"15.6 → {rate} fps"]
    assert texts(faster_rcnn(dict(type="CFGFPN"))) == ["15.6 → 10.9 fps"]  # default
    one_stage = dict(neck=dict(type="CFGFPN", cascade_times=2))
    assert texts(one_stage) == ["15 → 11.7 fps"]


def test_only_what_the_base_has_not() -> None:
    augfpn = faster_rcnn(dict(type="AugFPN"))
    assert texts(augfpn) == ["13.4 → 11.1 fps"]
    assert texts(augfpn, augfpn) == []
    both = faster_rcnn([dict(type="FPN"), dict(type="ASFF")])
    assert methods_of(both) == {"ASFF": None}
    assert texts(both) == ["50 → 46 fps"]


def test_auxiliary_losses() -> None:
    auxiliary = dict(type="RoIAuxiliary")
    plain = faster_rcnn(dict(type="FPN"), auxiliary=auxiliary)
    assert texts(plain) == ["15.6 → 15.6 fps"]
    assert texts(faster_rcnn(dict(type="FPN"), auxiliary=None)) == []
    # The training time of AugFPN includes its own.
    augfpn = faster_rcnn(dict(type="AugFPN"), auxiliary=auxiliary)
    assert texts(augfpn) == ["13.4 → 11.1 fps", "0.9 → 1.1 h per epoch"]
    drfpn = faster_rcnn(dict(type="DRFPN"), auxiliary=auxiliary)
    assert texts(drfpn) == ["12.2 → 12.4 ms"]


def test_no_paper_says_anything_of_two_necks_at_once() -> None:
    assert texts(faster_rcnn([dict(type="AugFPN"), dict(type="ASFF")])) == []
