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
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from torch import Tensor, nn

from fpn_necks.auxiliary import DenseAuxiliary, RoIAuxiliary
from fpn_necks.auxiliary.dense_form import resize
from fpn_necks.auxiliary.features import record_features
from fpn_necks.auxiliary.head_configs import first_stage
from fpn_necks.auxiliary.recording import record_outputs

from .heat_maps import (
    HeatMap,
    HeatRow,
    check_levels,
    choose_levels,
    draw_heat_rows,
    new_figure,
    panel_size,
    save,
    show_image,
    wrap,
)
from .recording import observe
from .views import View, run

NAMES = {"cls": "classification", "bbox": "boxes"}
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

    Args:
        model: detector with ``auxiliary`` and an ``uncertainty_weight``.
        view: image.
        levels: supervised maps to keep, such as ``["c3"]``; ``None`` for all.

    Returns:
        Of ``DenseAuxiliary`` rows of maps: per level and kind of loss, one for every
        stride. Of ``RoIAuxiliary`` α of RoIs: those of the detector's own head, or of
        a one-stage detector the boxes that it would sample from in training.

    Raises:
        ValueError: the model has no uncertainty, or there is no such level.
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
    kept = {k: v for k, v in found.alphas.items() if levels is None or k in levels}
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
        x = predictor.pre_conv(features[level.name])
        maps = [resize(x, *each) for each in zip(sizes, predictor.scales, strict=True)]
        for kind, name in NAMES.items():
            heat_maps = []
            for stride, size, y in zip(form.strides, sizes, maps, strict=True):
                alpha = predictor.uncertainty[kind](y).view(-1, *size)[0]
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
            rois = _boxes_in_training(model, form, outputs[0], view)
    rows = form.rows_of_levels(rois)
    pooled = [
        form.roi_extractor.pool_level(i, x, rois[chosen])
        for i, (x, chosen) in enumerate(zip(form.maps(features), rows, strict=True))
    ]
    alphas: dict[str, dict[str, np.ndarray]] = {}
    predicted = form.predict(pooled)
    for level, chosen, (_, _, found) in zip(form.levels, rows, predicted, strict=True):
        alphas[level.name] = {}
        for kind in NAMES:
            values = torch.full((len(rois),), torch.nan)
            values[chosen] = found[kind].cpu()
            alphas[level.name][kind] = values.numpy()
    return RoIUncertainty(view, rois[:, 1:].cpu().numpy(), alphas)


def _boxes_in_training(
    model: nn.Module, form: RoIAuxiliary, outputs: Sequence, view: View
) -> Tensor:
    """Return ``(K, 5)``, the boxes that ``DecodedProposals`` samples from."""
    found = model.bbox_head.predict_by_feat(
        *outputs,
        batch_img_metas=[view.batch["data_samples"][0].metainfo],
        cfg=form.proposals.config,
        rescale=False,
        with_nms=True,
    )[0]
    return torch.cat([found.bboxes.new_zeros(len(found), 1), found.bboxes], dim=1)


def draw_uncertainty(
    entries: Sequence[tuple[str, Uncertain]], path: str | Path
) -> None:
    """Write a picture of α over the image, of places or of RoIs.

    Raises:
        ValueError: one detector has α of places, the other of RoIs.
    """
    kinds = {isinstance(found, RoIUncertainty) for _, found in entries}
    if len(kinds) > 1:
        raise ValueError(
            "α of places and α of RoIs have no common picture: draw them one by one"
        )
    if True in kinds:
        _draw_rois(entries, path)
        return
    name = entries[0][1][0].view.name
    title = f"{name}: uncertainty α of the auxiliary heads, by map and stride"
    draw_heat_rows(entries, path, title)


def _draw_rois(entries: Sequence[tuple[str, RoIUncertainty]], path: str | Path) -> None:
    rows = [(kind, label, found) for kind in NAMES for label, found in entries]
    names = list(dict.fromkeys(name for _, found in entries for name in found.alphas))
    view = entries[0][1].view
    height, width = panel_size(view.image.shape[0] / view.image.shape[1])
    count = min(MOST_ROIS, len(entries[0][1].rois))
    figure, grid = new_figure(
        f"{view.name}: uncertainty α of the auxiliary heads for the first {count} RoIs",
        len(rows),
        len(names),
        (width, height + 0.4),
        margins=(2.0, 0.3),
    )
    for axes_of_row, (kind, label, found) in zip(grid, rows, strict=True):
        limits = _roi_limits([f.alphas[n][kind] for _, f in entries for n in f.alphas])
        shown = None
        for axes, name in zip(axes_of_row, names, strict=True):
            axes.set_visible(name in found.alphas)
            if name in found.alphas:
                shown = _draw_boxes(axes, found, name, kind, limits)
        several = len(entries) > 1
        text = f"{NAMES[kind]}\n{label}" if several else NAMES[kind]
        axes_of_row[0].set_ylabel(wrap(text), fontsize=9)
        bar = figure.colorbar(shown, ax=list(axes_of_row), pad=0.01, aspect=14)
        bar.set_label("uncertainty α", fontsize=8)
        bar.ax.tick_params(labelsize=8)
    save(figure, path)


def _draw_boxes(
    axes: Axes,
    found: RoIUncertainty,
    name: str,
    kind: str,
    limits: tuple[float, float],
) -> AxesImage:
    show_image(axes, found.view)
    alphas = found.alphas[name][kind]
    # An image of nothing carries the colours and the bar.
    shown = axes.imshow([[np.nan]], cmap="plasma", vmin=limits[0], vmax=limits[1])
    colours = shown.to_rgba(alphas[:MOST_ROIS])
    own = ~np.isnan(alphas[:MOST_ROIS])
    for (x1, y1, x2, y2), colour, is_own in zip(
        found.rois[:MOST_ROIS], colours, own, strict=True
    ):
        if is_own:
            size = (x2 - x1, y2 - y1)
            box = Rectangle((x1, y1), *size, fill=False, edgecolor=colour, linewidth=1)
            axes.add_patch(box)
    axes.set_xlim(0, found.view.image.shape[1])
    axes.set_ylim(found.view.image.shape[0], 0)
    mean = f"mean {np.nanmean(alphas):.3f}" if (~np.isnan(alphas)).any() else "no RoI"
    axes.set_title(
        f"{name.upper()}: {mean} of {(~np.isnan(alphas)).sum()} RoIs", fontsize=9
    )
    return shown


def _roi_limits(alphas: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([x[~np.isnan(x)] for x in alphas])
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1e-6
