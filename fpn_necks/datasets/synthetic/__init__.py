"""The synthetic tiny-person set: drawing of scenes and writing of files."""

from .scene import Person, Scene, draw_scene
from .scene_settings import SceneSettings
from .summaries import SplitSummary, SyntheticTinyPerson
from .tiny_person import generate

__all__ = [
    "Person",
    "Scene",
    "SceneSettings",
    "SplitSummary",
    "SyntheticTinyPerson",
    "draw_scene",
    "generate",
]
