"""Where the auxiliary heads are uncertain: α of Eq. 11, per place or per RoI.

The auxiliary heads exist in training only. Here they get the maps that a detection
computes and predict α from them; no ground truth is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fpn_necks.auxiliary import DenseAuxiliary, RoIAuxiliary
from fpn_necks.auxiliary.features import record_features
from fpn_necks.auxiliary.recording import record_outputs
from fpn_necks.auxiliary.roi_form import first_stage
from fpn_necks.hooks.recording import observe

from .figures import HeatMap, HeatRow, choose_levels
from .views import View, run

BRANCHES = {"cls": "classification", "bbox": "boxes"}
UNIT = "uncertainty α"


def collect_uncertainty(
    model: nn.Module, view: View, levels: Sequence[str] | None = None
) -> list[HeatRow]:
    """Predict α from the supervised maps of an image.

    Returns:
        Of ``DenseAuxiliary`` a row per level and kind of loss, a map for every stride.
        Of ``RoIAuxiliary`` a row per kind of loss, with α of RoIs for every level:
        those of the detector's own head, or the detections of a one-stage detector. The
        first 60 are drawn, in the colour of their α.
    """
    form = getattr(model, "auxiliary", None)
    if form is None or form.uncertainty_weight is None:
        raise ValueError(
            f"the {type(model).__name__} has no auxiliary heads with an "
            "uncertainty_weight"
        )
    collect = _of_places if isinstance(form, DenseAuxiliary) else _of_rois
    return choose_levels(collect(model, form, view), levels)


@torch.no_grad()
def _of_places(model: nn.Module, form: DenseAuxiliary, view: View) -> list[HeatRow]:
    with (
        record_features(model, form.levels) as features,
        record_outputs(model.bbox_head) as outputs,
    ):
        run(model, view)
    scores = outputs[0][0]
    sizes = [tuple(scores[i].shape[-2:]) for i in form.stride_places]
    rows = []
    for level in form.levels:
        predictor = form.predictors[level.name]
        maps = predictor.maps(features[level.name], sizes)
        for branch, name in BRANCHES.items():
            heat_maps = []
            for stride, size, y in zip(form.strides, sizes, maps, strict=True):
                alpha = predictor.uncertainty[branch](y).view(-1, *size)[0]
                title = f"at stride {stride}: mean {float(alpha.mean()):.3f}"
                values = alpha.cpu().numpy()
                heat_maps.append(HeatMap(level.name, stride, title, values))
            label = f"{level.name.upper()}: {name}"
            rows.append(HeatRow(label, UNIT, view, tuple(heat_maps)))
    return rows


@torch.no_grad()
def _of_rois(model: nn.Module, form: RoIAuxiliary, view: View) -> list[HeatRow]:
    seen: list[Tensor] = []
    stages = {}
    if form.is_two_stage:
        stages[""] = first_stage(model.roi_head.bbox_roi_extractor)
    with (
        record_features(model, form.levels) as features,
        observe(stages, lambda _name, inputs, _output: seen.append(inputs[1])),
    ):
        found = run(model, view)
    if not seen:
        # Detections are in pixels of the original.
        boxes = found.pred_instances.bboxes
        boxes = boxes * boxes.new_tensor(found.scale_factor).repeat(2)
        seen = [torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)]
    rois, chosen = seen[0], form.rows_of_levels(seen[0])
    maps: dict[str, list[HeatMap]] = {branch: [] for branch in BRANCHES}
    for i, (x, rows) in enumerate(zip(form.maps(features), chosen, strict=True)):
        *_, predicted = form.predict(i, x, rois[rows])
        name = form.levels[i].name
        boxes = rois[rows, 1:].cpu().numpy()
        for branch, of_branch in maps.items():
            alpha = predicted[branch].flatten().cpu().numpy()
            mean = f"mean {alpha.mean():.3f}" if len(alpha) else "no RoI"
            title = f"{name.upper()}: {mean} of {len(alpha)} RoIs"
            of_branch.append(HeatMap(name, i, title, alpha, boxes=boxes))
    # The dark end of the maps' colours would hide a box.
    return [
        HeatRow(label, UNIT, view, tuple(maps[branch]), colours="plasma")
        for branch, label in BRANCHES.items()
    ]
