"""The arrows of the architecture: who may import whom."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fpn_necks"
FORBIDDEN = {
    "layers": ("mmdet", "mmengine.registry", "fpn_necks.necks", "fpn_necks.statistics"),
    "necks": ("fpn_necks.statistics", "fpn_necks.hooks", "fpn_necks.datasets"),
    "statistics": ("fpn_necks.necks", "fpn_necks.hooks", "fpn_necks.datasets"),
    "datasets": ("fpn_necks.necks", "fpn_necks.hooks", "fpn_necks.layers"),
    "inference": ("fpn_necks.necks", "fpn_necks.layers", "fpn_necks.hooks"),
    "evaluation": tuple(
        f"fpn_necks.{folder}"
        for folder in ("necks", "layers", "hooks", "roi_extractors")
    ),
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


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_arrows(folder: str) -> None:
    files = list((PACKAGE / folder).rglob("*.py"))
    assert files
    for path in files:
        for module in imported_modules(path):
            for forbidden in FORBIDDEN[folder]:
                below = module == forbidden or module.startswith(f"{forbidden}.")
                assert not below, f"{path.name} imports {module}"


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
        if ".register_module" in text:
            assert path.parent.name in registering, path


def test_evaluation_is_plain_numpy_but_for_the_metric() -> None:
    files = set((PACKAGE / "evaluation").glob("*.py"))
    metric = PACKAGE / "evaluation" / "tiny_person_metric.py"
    assert metric in files
    for path in files - {metric}:
        outside = {module.split(".")[0] for module in imported_modules(path)}
        assert not outside & {"torch", "mmcv", "mmdet", "mmengine"}, path
