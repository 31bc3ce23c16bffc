"""The released classes of the golden files: ours with their weights, run as theirs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from fpn_necks import released
from fpn_necks.layers import softmax_over_levels
from tests.golden import Golden

# A file's name and the method of its class; other files are of parts of the classes.
METHODS = {
    "augfpn_highfpn_frcnn": "highfpn",
    "augfpn_highfpn_bn_train": "highfpn",
    "augfpn_highfpn_bn_eval": "highfpn",
    "augfpn_highfpn_retinanet": "highfpn-retinanet",
    "augfpn_highfpn_fcos": "highfpn-retinanet",
    **{
        f"drfpn_{detector}_{mode}": "drfpn"
        for detector in ("frcnn", "retinanet", "fcos")
        for mode in ("train", "eval")
    },
    **{f"asff_level{i}_{mode}": "asff" for i in range(3) for mode in ("train", "eval")},
    **{
        f"augfpn_softroi_{op}_sr{n}": "soft-roi"
        for op in ("mmcv", "legacy")
        for n in (2, 0)
    },
}


def load(case: Golden) -> nn.Module:
    """Build our module with a file's weights, in the file's mode."""
    method, config = METHODS[case.name], dict(case.config)
    if "legacy" in case.name:
        config["roi_layer"] = config["roi_layer"] | dict(legacy=True)
    module = released.build(method, **config)
    module.load_state_dict(released.convert(method, case.state))
    return module.train(case.name.endswith("_train"))


def outputs_of(
    name: str, module: nn.Module, inputs: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return everything that the released class returns, by the file's names."""
    method, seen = METHODS[name], []

    def watch(part: nn.Module, *maps: Any) -> Any:
        handle = part.register_forward_hook(lambda *call: seen.append(call[2]))
        result = module(*maps)
        handle.remove()
        return result

    if method == "asff":
        y = watch(module.scores, [inputs[f"level_{i}"] for i in range(3)])
        return {"y": y, "levels_weight": softmax_over_levels(seen[0])}
    if method == "soft-roi":
        feats = [inputs[f"feat.{i}"] for i in range(len(inputs) - 1)]
        return {"y": module(feats, inputs["rois"])}
    maps = tuple(inputs[str(i)] for i in range(len(inputs)))
    if method == "drfpn":
        return {str(i): x for i, x in enumerate(module(maps))}
    outputs = {f"outs.{i}": x for i, x in enumerate(watch(module.lateral_convs, maps))}
    return outputs | {f"raw_laterals.{i}": x for i, x in enumerate(seen[0])}
