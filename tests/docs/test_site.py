"""The documentation's site: it builds, its links lead somewhere, names are in it."""

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mmdet.registry
import pytest
from mmengine.registry import Registry

import fpn_necks  # noqa: F401  registers

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("sphinx", "myst_parser", "furo"))),
        reason="Sphinx, myst-parser or furo is not installed (tools/setup.sh does)",
    ),
]


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
    folder = tmp_path_factory.mktemp("site").resolve()
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
    return {path: Page(path) for path in site.rglob("*.html")}


def test_links_lead_to_pages_and_anchors(pages: dict[Path, Page]) -> None:
    dead, count = [], 0
    for path, page in pages.items():
        assert not any(urlsplit(file).netloc for file in page.loaded), path
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


def test_reference_holds_every_name(site: Path) -> None:
    """What packages export, and what importing them registers in mmdet."""
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    names = {
        name.rpartition(".")[2]
        for kind, items in inventory.data.items()
        if kind.startswith("py:")
        for name in items
    }
    for page in (DOCS / "api").glob("*.md"):
        for module in re.findall(r"automodule:: (\S+)", page.read_text()):
            exported = getattr(importlib.import_module(module), "__all__", [])
            assert set(exported) <= names, module
    for registry in vars(mmdet.registry).values():
        if isinstance(registry, Registry):
            for name, item in registry.module_dict.items():
                ours = getattr(item, "__module__", "").startswith("fpn_necks.")
                assert not ours or name in names, name
