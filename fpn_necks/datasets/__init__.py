"""Datasets and their makers."""

from .synthetic import (
    Person,
    Scene,
    SceneSettings,
    SplitSummary,
    SyntheticTinyPerson,
    draw_scene,
    generate,
)

__all__ = [
    "Person",
    "Scene",
    "SceneSettings",
    "SplitSummary",
    "SyntheticTinyPerson",
    "draw_scene",
    "generate",
]
