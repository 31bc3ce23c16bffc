"""The arrows of the architecture: who may import whom."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "fpn_necks"
# Room: what it imports, lazily or not; each room stands below those it imports.
ARROWS = {
    "version": "",
    "io": "",
    "compatibility": "",
    "messages": "",
    "checkpoints": "io",
    "shipped_configs": "messages",
    "layers": "",
    "config_tools": "layers messages shipped_configs",
    "warm_start": "checkpoints",
    "coco_files": "io",
    "necks": "layers",
    "roi_extractors": "layers",
    "dense_heads": "",
    "auxiliary": "layers roi_extractors",
    "statistics": "io layers",
    "hooks": "layers necks roi_extractors statistics",
    "datasets": "coco_files io layers",
    "evaluation": "coco_files datasets io layers",
    "detectors": "checkpoints config_tools messages",
    "released": "checkpoints io layers necks roi_extractors",
    "visualization": "auxiliary checkpoints detectors hooks io layers necks "
    "roi_extractors",
    "inference": "datasets detectors io layers messages visualization",
    "check": "config_tools layers messages version",
    "doctor_steps": "",
    "doctor": "compatibility doctor_steps version",
    "costs": "config_tools",
    "reproduction": "checkpoints config_tools costs io messages",
    "integrations": "",
}


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = [*path.relative_to(PACKAGE.parent).parent.parts]
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def test_arrows() -> None:
    """All of them, and no circle."""
    drawn: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        others = {
            name.split(".")[1]
            for name in imported_modules(path)
            if name.startswith("fpn_necks.")
        }
        drawn.setdefault(room, set()).update(others - {room})
    for outermost in ("__init__", "__main__", "cli"):
        del drawn[outermost]
    assert drawn == {room: set(below.split()) for room, below in ARROWS.items()}
    below: set[str] = set()
    for room, others in ARROWS.items():
        assert set(others.split()) <= below, f"{room} stands below what it imports"
        below.add(room)


def test_ideas_are_plain_torch() -> None:
    for path in (PACKAGE / "layers").rglob("*.py"):
        for name in imported_modules(path):
            assert not name.startswith(("mmdet", "mmengine.registry")), path


def test_necks_do_not_import_each_other() -> None:
    shared = {"pyramid_neck", "fusion_factor", "__init__"}
    necks = {p.stem for p in (PACKAGE / "necks").glob("*.py")} - shared
    assert necks
    for name in necks:
        modules = imported_modules(PACKAGE / "necks" / f"{name}.py")
        for other in necks - {name}:
            assert f"fpn_necks.necks.{other}" not in modules


def test_only_registering_packages_use_the_registry() -> None:
    registering = {"necks", "hooks", "datasets", "roi_extractors", "auxiliary"}
    registering |= {"evaluation", "dense_heads"}
    registering |= {"tiny_person", "transforms"}  # of datasets
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if ".register_module(" in text:
            assert path.parent.name in registering, path


def test_evaluation_is_plain_numpy_but_for_the_metric() -> None:
    files = set((PACKAGE / "evaluation").glob("*.py"))
    metric = PACKAGE / "evaluation" / "tiny_person_metric.py"
    assert metric in files
    for path in files - {metric}:
        outside = {module.split(".")[0] for module in imported_modules(path)}
        assert not outside & {"torch", "mmcv", "mmdet", "mmengine"}, path
