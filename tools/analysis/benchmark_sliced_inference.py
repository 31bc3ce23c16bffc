"""Tiles per second of sliced inference, beside SAHI's, on one detector and image.

Both run the same tiles, in turns, and what they give is compared. SAHI is not a
requirement of fpn_necks: `pip install sahi`.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import fpn_necks  # noqa: F401  registers what the config may name
from fpn_necks.datasets import tile_corners
from fpn_necks.detectors import default_device, load_detector, read_image
from fpn_necks.inference import detect_sliced


def main() -> None:
    """Time both in turns and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("config", "checkpoint", "image"):
        parser.add_argument(name)
    parser.add_argument("--tile", type=int, nargs=2, default=(640, 512))
    parser.add_argument("--overlap", type=int, nargs=2, default=(50, 50))
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--device", default=default_device())
    args = parser.parse_args()
    try:
        from sahi import AutoDetectionModel
        from sahi.predict import get_sliced_prediction

        model = load_detector(args.config, args.checkpoint, args.device)
        image = read_image(args.image, model)
    except (ImportError, OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    tile, overlap = tuple(args.tile), tuple(args.overlap)
    number = len(tile_corners(image.shape[1::-1], tile, overlap))
    theirs = AutoDetectionModel.from_pretrained(
        model_type="mmdet",
        config_path=args.config,
        model_path=args.checkpoint,
        confidence_threshold=0.3,
        device=args.device,
    )
    ours = dict(batch_size=args.batch_size, score_threshold=0.3, border_margin=None)
    options = dict(
        slice_width=tile[0],
        slice_height=tile[1],
        overlap_width_ratio=overlap[0] / tile[0] + 1e-6,
        overlap_height_ratio=overlap[1] / tile[1] + 1e-6,
        perform_standard_pred=False,
        postprocess_type="NMS",
        postprocess_match_metric="IOU",
        verbose=0,
    )
    rgb = np.ascontiguousarray(image[..., ::-1])  # SAHI's order
    runs = {
        "detect": lambda: detect_sliced(model, image, tile, overlap, **ours),
        "SAHI": lambda: get_sliced_prediction(rgb, theirs, **options),
    }
    found = [run() for run in runs.values()]  # the warm-up too
    counts = len(found[0].pred_instances), len(found[1].object_prediction_list)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.turns):
        for name, run in runs.items():
            start = time.perf_counter()
            run()  # both end with indexing that waits for the device
            seconds[name].append(time.perf_counter() - start)
    speed = {name: number / statistics.median(x) for name, x in seconds.items()}
    for name, count in zip(runs, counts, strict=True):
        print(f"{name}: {speed[name]:.2f} tiles/s, {count} detections")
    print(f"ratio: {speed['detect'] / speed['SAHI']:.2f} ({number} tiles)")


if __name__ == "__main__":
    main()
