"""Datasets and their makers."""

from .synthetic.scene import Person, Scene, draw_scene
from .synthetic.scene_settings import SceneSettings
from .synthetic.summaries import SplitSummary, SyntheticTinyPerson
from .synthetic.tiny_person import generate

__all__ = [
    "Person",
    "Scene",
    "SceneSettings",
    "SplitSummary",
    "SyntheticTinyPerson",
    "draw_scene",
    "generate",
]
