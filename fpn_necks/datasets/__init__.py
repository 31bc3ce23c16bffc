"""Datasets and their makers; importing this package registers them into mmdet."""

from . import tiny_person, transforms
from .synthetic.scene import Person, Scene, SceneSettings, draw_scene
from .synthetic.tiny_person import SplitSummary, SyntheticTinyPerson, generate
from .tiny_person import TileSettings, check_tiny_person, tile_corners

__all__ = [
    "Person",
    "Scene",
    "SceneSettings",
    "SplitSummary",
    "SyntheticTinyPerson",
    "TileSettings",
    "check_tiny_person",
    "draw_scene",
    "generate",
    "tile_corners",
    "tiny_person",
    "transforms",
]
