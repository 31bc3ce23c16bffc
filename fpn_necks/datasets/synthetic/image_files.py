"""Draws scenes into image files, in this process or in several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from fpn_necks.io import write_bytes

from .scene import Person, draw_scene
from .scene_settings import SceneSettings


@dataclass(frozen=True)
class ImageJob:
    """Everything that a worker needs to draw and write one image."""

    settings: SceneSettings
    seed: tuple[int, int, int]  # the set's seed, the split's and the image's index
    path: Path
    jpeg_quality: int


def _draw_and_write(job: ImageJob) -> tuple[tuple[Person, ...], bool]:
    """Draws and writes one image; returns its people and whether it is dense."""
    scene = draw_scene(job.settings, job.seed)
    options = (
        [cv2.IMWRITE_JPEG_QUALITY, job.jpeg_quality]
        if job.path.suffix == ".jpg"
        else []
    )
    encoded, content = cv2.imencode(job.path.suffix, scene.image, options)
    if not encoded:
        raise OSError(f"OpenCV could not encode {job.path}")
    write_bytes(job.path, content.tobytes())
    return scene.people, scene.dense


def _single_thread() -> None:
    # OpenCV's thread pool does not survive a fork.
    cv2.setNumThreads(0)


def run_jobs(
    jobs: Sequence[ImageJob], workers: int
) -> Iterator[tuple[tuple[Person, ...], bool]]:
    """Runs the jobs in this process or in `workers` others; results in job order."""
    if workers == 0:
        yield from map(_draw_and_write, jobs)
        return
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
    with context.Pool(workers, initializer=_single_thread) as pool:
        yield from pool.imap(_draw_and_write, jobs, chunksize=4)
