"""Where the auxiliary heads are uncertain: α of Eq. 11, per place or per RoI.

The auxiliary heads exist in training only. Here they get the maps that a detection
computes and predict α from them; no ground truth is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from fpn_necks.auxiliary import DenseAuxiliary, RoIAuxiliary
from fpn_necks.auxiliary.features import record_features
from fpn_necks.auxiliary.head_configs import first_stage
from fpn_necks.auxiliary.recording import record_outputs

from .figures import (
    HeatMap,
    HeatRow,
    add_bar,
    check_levels,
    choose_levels,
    draw_heat_rows,
    is_chosen,
    new_figure,
    panel_size,
    save,
    show_image,
    value_range,
    wrap,
)
from .recording import observe
from .views import View, run

BRANCHES = {"cls": "classification", "bbox": "boxes"}
MOST_ROIS = 60  # more would hide each other


@dataclass(frozen=True)
class RoIUncertainty:
    """α of RoIs.

    Attributes:
        view: the image.
        rois: ``(K, 4)`` x1, y1, x2, y2 in pixels of the network's image.
        alphas: by level, then by ``"cls"`` or ``"bbox"``: ``(K,)``, NaN for RoIs that
            the level does not have.
    """

    view: View
    rois: np.ndarray
    alphas: dict[str, dict[str, np.ndarray]]


Uncertain = list[HeatRow] | RoIUncertainty


def collect_uncertainty(
    model: nn.Module, view: View, levels: Sequence[str] | None = None
) -> Uncertain:
    """Predict α from the supervised maps of an image.

    Returns:
        Of ``DenseAuxiliary`` rows of maps: per level and kind of loss, one for every
        stride. Of ``RoIAuxiliary`` α of RoIs: those of the detector's own head, or of
        a one-stage detector the boxes that it would sample from in training.
    """
    form = getattr(model, "auxiliary", None)
    if form is None or form.uncertainty_weight is None:
        raise ValueError(
            f"the {type(model).__name__} has no auxiliary heads with an "
            "uncertainty_weight"
        )
    if isinstance(form, DenseAuxiliary):
        return choose_levels(_of_places(model, form, view), levels)
    found = _of_rois(model, form, view)
    check_levels(list(found.alphas), levels)
    kept = {k: v for k, v in found.alphas.items() if is_chosen(k, levels)}
    return RoIUncertainty(view, found.rois, kept)


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
            rows.append(HeatRow(label, "uncertainty α", view, tuple(heat_maps)))
    return rows


@torch.no_grad()
def _of_rois(model: nn.Module, form: RoIAuxiliary, view: View) -> RoIUncertainty:
    seen: list[Tensor] = []
    with record_features(model, form.levels) as features:
        if form.is_two_stage:
            extractor = first_stage(model.roi_head.bbox_roi_extractor)
            look = lambda _name, inputs, _output: seen.append(inputs[1])  # noqa: E731
            with observe({"extractor": extractor}, look):
                run(model, view)
            rois = seen[0]
        else:
            with record_outputs(model.bbox_head) as outputs:
                run(model, view)
            # The boxes that `DecodedProposals` samples from in training.
            boxes = model.bbox_head.predict_by_feat(
                *outputs[0],
                batch_img_metas=[view.batch["data_samples"][0].metainfo],
                cfg=form.proposals.config,
                rescale=False,
                with_nms=True,
            )[0].bboxes
            rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1)
    rows = form.rows_of_levels(rois)
    pooled = [
        form.roi_extractor.pool_level(i, x, rois[chosen])
        for i, (x, chosen) in enumerate(zip(form.maps(features), rows, strict=True))
    ]
    alphas: dict[str, dict[str, np.ndarray]] = {}
    predicted = form.predict(pooled)
    for level, chosen, (_, _, found) in zip(form.levels, rows, predicted, strict=True):
        alphas[level.name] = {}
        for branch in BRANCHES:
            values = torch.full((len(rois),), torch.nan)
            values[chosen] = found[branch].cpu()
            alphas[level.name][branch] = values.numpy()
    return RoIUncertainty(view, rois[:, 1:].cpu().numpy(), alphas)


def draw_uncertainty(
    entries: Sequence[tuple[str, Uncertain]], path: str | Path
) -> None:
    """Write a picture of α over the image, of places or of RoIs."""
    of_rois = [isinstance(found, RoIUncertainty) for _, found in entries]
    if all(of_rois):
        _draw_rois(entries, path)
    elif any(of_rois):
        raise ValueError(
            "α of places and α of RoIs have no common picture: draw them one by one"
        )
    else:
        title = "uncertainty α of the auxiliary heads, by map and stride"
        draw_heat_rows(entries, path, title)


def _draw_rois(entries: Sequence[tuple[str, RoIUncertainty]], path: str | Path) -> None:
    rows = [(branch, label, x) for branch in BRANCHES for label, x in entries]
    names = list(dict.fromkeys(name for _, found in entries for name in found.alphas))
    first = entries[0][1]
    width, height = panel_size([first.view])[::-1]
    count = min(MOST_ROIS, len(first.rois))
    figure, grid = new_figure(
        f"{first.view.name}: uncertainty α of the auxiliary heads for the first "
        f"{count} RoIs",
        (len(rows), len(names)),
        (width, height + 0.4),
        margins=(2.0, 0.3),
    )
    for axes_of_row, (branch, label, found) in zip(grid, rows, strict=True):
        every = [x[branch] for _, f in entries for x in f.alphas.values()]
        scale = ScalarMappable(Normalize(*value_range(every)), "plasma")
        for axes, name in zip(axes_of_row, names, strict=True):
            axes.set_visible(name in found.alphas)
            if name not in found.alphas:
                continue
            show_image(axes, found.view)
            alphas = found.alphas[name][branch]
            own = ~np.isnan(alphas)
            for (x1, y1, x2, y2), alpha in zip(
                found.rois[own][:MOST_ROIS], alphas[own][:MOST_ROIS], strict=True
            ):
                colour, size = scale.to_rgba(alpha), (x2 - x1, y2 - y1)
                axes.add_patch(Rectangle((x1, y1), *size, fill=False, edgecolor=colour))
            mean = f"mean {alphas[own].mean():.3f}" if own.any() else "no RoI"
            title = f"{name.upper()}: {mean} of {own.sum()} RoIs"
            axes.set_title(title, fontsize=9)
        text = f"{BRANCHES[branch]}\n{label}" if len(entries) > 1 else BRANCHES[branch]
        axes_of_row[0].set_ylabel(wrap(text), fontsize=9)
        add_bar(figure, list(axes_of_row), scale, "uncertainty α")
    save(figure, path)
