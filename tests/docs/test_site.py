"""The documentation's site: its links, its pages, and what its API reference holds."""

import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

import mmdet.registry
import pytest
from mmengine.registry import Registry

import fpn_necks  # noqa: F401  registers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGES = [
    *("auxiliary", "check", "costs", "datasets", "dense_heads", "evaluation"),
    *("hooks", "inference", "layers", "necks", "reproduction", "roi_extractors"),
    *("statistics", "visualization"),
]
GENERATED = ("genindex.html", "py-modindex.html", "search.html")
MODULES = ["checkpoints", "released", "shipped_configs", "warm_start"]

needs_sphinx = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("sphinx", "myst_parser", "furo"))),
    reason="Sphinx, myst-parser or furo is not installed (tools/setup.sh does)",
)


def public_names(module: ModuleType) -> Iterator[str]:
    """Full names of what a package exports, or of what a module defines."""
    names = getattr(module, "__all__", None) or [
        name
        for name, item in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(item) or inspect.isfunction(item))
        and item.__module__ == module.__name__
    ]
    for name in names:
        item = getattr(module, name)
        if inspect.ismodule(item):
            yield from public_names(item)
        else:
            yield f"{module.__name__}.{name}"


def resolve(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError:  # a method
        return getattr(resolve(module), attribute)


def written_entries() -> set[str]:
    """Names that the pages of ``docs/api`` ask autodoc for."""
    found = set()
    for page in (DOCS / "api").glob("*.md"):
        module = None
        for line in page.read_text().splitlines():
            directive = re.match(r"\.\. (?:py:|auto)?(\w+):: (\S+)", line)
            if directive and directive[1] == "currentmodule":
                module = directive[2]
            elif directive and directive[1] == "module":
                found |= set(public_names(importlib.import_module(directive[2])))
            elif directive and directive[1] in {"class", "function", "data"}:
                found.add(f"{module}.{directive[2]}")
    return found


def registered() -> dict[str, type]:
    """What importing the package adds to mmdet's registries."""
    return {
        name: item
        for registry in vars(mmdet.registry).values()
        if isinstance(registry, Registry)
        for name, item in registry.module_dict.items()
        if getattr(item, "__module__", "").startswith("fpn_necks.")
    }


def test_pages_list_every_public_name() -> None:
    entries = written_entries()
    assert len(entries) > 100
    documented = [resolve(entry) for entry in entries]  # fails for what is no more
    for module in PACKAGES + MODULES:
        names = list(public_names(importlib.import_module(f"fpn_necks.{module}")))
        assert names, module
        for name in names:
            item = resolve(name)
            assert any(item is other for other in documented), name


def test_pages_list_everything_registered() -> None:
    documented = {entry.rpartition(".")[2] for entry in written_entries()}
    names = set(registered())
    assert {"SAlphaFPN", "AuxiliaryFCOS", "TinyPersonMetric"} <= names
    assert names - documented == set()


def test_wrong_arguments() -> None:
    command = ["bash", ROOT / "tools/docs.sh", "--fast"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2 and "--fast" in result.stderr


class Page(HTMLParser):
    """Ids, links and loaded files of a built page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag == "link" and values.get("rel") != "canonical":
            self.loaded.add(values["href"])
        if tag in {"script", "img", "iframe", "source"} and "src" in values:
            self.loaded.add(values["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    arguments = ["-b", "html", "-W", "--keep-going", "-q", "-d", folder / "doctrees"]
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments, DOCS, folder / "html"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "MPLBACKEND": "Agg"},
    )
    assert result.returncode == 0, result.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path) for path in site.rglob("*.html")}


@pytest.mark.long
@needs_sphinx
def test_every_page_is_in_the_table_of_contents(
    site: Path, pages: dict[Path, Page]
) -> None:
    front = (site / "index.html").resolve()
    tree = (site / "index.html").read_text().split('class="sidebar-tree"')[1]
    tree = tree.split('class="content"')[0]
    listed = {
        (front.parent / href).resolve()
        for href in re.findall(r'<a class="reference internal" href="([^"#]+)"', tree)
    }
    built = set(pages) - {front, *(site.resolve() / n for n in GENERATED)}
    assert {page for page in built if "_modules" not in page.parts} <= listed


@pytest.mark.long
@needs_sphinx
def test_links_lead_to_pages_and_anchors(pages: dict[Path, Page]) -> None:
    dead, count = [], 0
    for path, page in pages.items():
        for link in page.links | page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            known = pages[target].ids if target in pages else set()
            anchor = unquote(parts.fragment)
            # Furo's "back to top" is an empty anchor, a browser's own.
            if not target.is_file() or (anchor and anchor not in known):
                dead.append(f"{path.name}: {link}")
    assert count > 1000
    assert dead == []
    for path, page in pages.items():
        assert not any(urlsplit(file).netloc for file in page.loaded), path


@pytest.mark.long
@needs_sphinx
def test_reference_holds_every_name(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    entries = {
        name
        for kind, items in inventory.data.items()
        if kind.startswith("py:") and kind != "py:module"
        for name in items
        if name.startswith("fpn_necks.")
    }
    assert written_entries() <= entries
    assert set(registered()) <= {name.rpartition(".")[2] for name in entries}


@pytest.mark.long
@needs_sphinx
def test_what_conf_adds(site: Path) -> None:
    for page in (site / "methods").glob("*.html"):
        assert 'href="../api/' in page.read_text(), page  # names of code are links
    necks = (site / "api" / "necks.html").read_text()
    assert "kwargs" not in necks and "num_outs" in necks  # arguments that are passed on
    zoo = (site / "model_zoo.html").read_text()
    assert re.search(r'href="_downloads/\w+/retinanet_r50_asff_1x_coco.py"', zoo)
    assert 'class="toc-drawer no-toc"' in zoo
    assert re.search(
        '<html[^>]* lang="zh-CN"', (site / "README_zh-CN.html").read_text()
    )
