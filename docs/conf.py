"""The site: these pages and an API reference from docstrings, by Sphinx.

``bash tools/docs.sh`` builds it. The pages are read on a code host as well, and this
repository has no address that the site could link to. Hence what is here beyond
Sphinx's own settings:

- Links out of this folder. The READMEs are pages of the site (``overview.md`` and
  ``methods/`` include them), so links to them go there; any other file of the
  repository becomes its path as text.
- Names of code, such as ``fpn_necks.necks.AugFPN``, and of pages lead to their place.
- Two corrections of what autodoc and napoleon read out of docstrings and signatures.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import make_refnode

from fpn_necks import __version__

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

project = "fpn_necks"
author = "the fpn_necks authors"
release = version = __version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
default_role = "code"  # a few docstrings have Markdown's single backquotes

myst_heading_anchors = 4

# Only what has a docstring is public; nn.Module's own methods are torch's to document.
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
}
autodoc_inherit_docstrings = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autoclass_content = "both"  # for the types of constructor arguments
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 88
highlight_language = "none"  # drawings in docstrings are no Python
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "furo"
html_title = f"fpn_necks {__version__}"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# Pages whose text is elsewhere. MyST resolves links of an included text from the page;
# that finds the docs/ of a method's links all the same: the folders are equally deep.
SOURCES = {
    "overview": ROOT / "README.md",
    **{
        f"methods/{path.stem}": ROOT / "configs" / path.stem / "README.md"
        for path in (DOCS / "methods").glob("*.md")
    },
}
# File of the repository -> page of the site.
PAGES = {
    f"docs/{path.relative_to(DOCS).as_posix()}": (
        path.relative_to(DOCS).with_suffix("").as_posix()
    )
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts
}
PAGES |= {path.relative_to(ROOT).as_posix(): page for page, path in SOURCES.items()}


class RepositoryLinks(SphinxTransform):
    """Turns links out of ``docs/`` into links to pages, or into text."""

    default_priority = 5  # before Sphinx collects downloads

    def apply(self) -> None:
        """Replace what MyST made of relative links."""
        kinds = (addnodes.download_reference, addnodes.pending_xref)
        for node in list(self.document.findall(lambda n: isinstance(n, kinds))):
            if node.get("reftype") == "myst":
                self._resolve(node)

    def _resolve(self, node: nodes.Element) -> None:
        target, anchor = node["reftarget"], node.get("reftargetid")
        if node.get("refdomain") == "doc":
            # MyST gives the name of a document, which is relative to docs/.
            path = os.path.normpath(DOCS / f"{target}.md")
        else:
            here = SOURCES.get(self.env.docname, DOCS / f"{self.env.docname}.md")
            path = os.path.normpath(here.parent / target.split("#")[0])
        if not (os.path.exists(path) and Path(path).is_relative_to(ROOT)):
            return  # Sphinx warns
        name = Path(path).relative_to(ROOT).as_posix()
        page = PAGES.get(name)
        if page is None:
            node.replace_self(_as_text(node, name))
            return
        reference = addnodes.pending_xref(
            refdomain="doc",
            reftype="myst",
            refdoc=self.env.docname,
            reftarget=page,
            reftargetid=anchor,
            refexplicit=node.astext() not in (name, PurePosixPath(name).name),
        )
        # A link whose text is the name of the file gets the page's title instead.
        reference += node.children if reference["refexplicit"] else nodes.inline()
        node.replace_self(reference)


def _as_text(node: nodes.Element, path: str) -> list[nodes.Node]:
    """Return the link's text, and behind it what the link said, if that differs.

    That is a path in the repository, or the name of a config, as `configs` takes it.
    """
    text = node.astext()
    if text in (path, PurePosixPath(path).name, PurePosixPath(path).stem):
        return [nodes.literal(text, text)]
    is_config = path.startswith("configs/") and path.endswith(".py")
    name = PurePosixPath(path).stem if is_config else path
    return [
        *node.children,
        nodes.Text(" ("),
        nodes.literal(name, name),
        nodes.Text(")"),
    ]


def keep_returns_whole(
    app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]
) -> None:
    """Keep napoleon from taking what stands before a colon in "Returns" as a type.

    Types come from annotations. It looks at the section's first line, so that gets
    nothing: an escaped line break.
    """
    for index, line in enumerate(lines):
        if line.strip() == "Returns:":
            indent = lines[index + 1][: -len(lines[index + 1].lstrip())]
            lines.insert(index + 1, f"{indent}\\")
            return


def shorten_signature(
    app: Sphinx,
    what: str,
    name: str,
    item: Any,
    options: Any,
    arguments: str,
    returns: str,
) -> tuple[str, str] | None:
    """Write the unnamed default of a dataclass's field so that it can be parsed."""
    if not arguments or "<factory>" not in arguments:
        return None
    return arguments.replace("<factory>", "..."), returns


def link_names(app: Sphinx, document: nodes.document, docname: str) -> None:
    """Link literals that name a page or something in the API reference.

    Full names everywhere. On the pages of the reference also ``Class``,
    ``Class.method`` and ``long_name`` alone, as docstrings write them, if one entry
    alone is meant; not ``build`` and the like, which are words as well.
    """
    objects = app.env.domains.python_domain.objects
    meant: dict[str, list[str]] = {}
    for name, entry in objects.items():
        if not entry.aliased:
            meant.setdefault(name, []).append(name)
            short = _without_module(name, entry.objtype)
            if docname.startswith("api/") and (not short.islower() or "_" in short):
                meant.setdefault(short, []).append(name)
    for literal in list(document.findall(nodes.literal)):
        text = literal.astext()
        names = meant.get(text, [])
        if _inside(literal, nodes.reference):
            continue
        if text in PAGES:
            place = (PAGES[text], None)
        elif len(names) == 1:
            entry = objects[names[0]]
            place = (entry.docname, entry.node_id)
            if text == names[0] and _inside(literal, nodes.entry):
                text = _without_module(text, entry.objtype)  # tables have little room
        else:
            continue
        content = nodes.literal(text, text)
        reference = make_refnode(
            app.builder, docname, *place, content, literal.astext()
        )
        literal.replace_self(reference)


def _without_module(name: str, kind: str) -> str:
    if kind == "module":
        return name
    is_member = kind in {"method", "property", "attribute"}
    return ".".join(name.split(".")[-2 if is_member else -1 :])


def _inside(node: nodes.Node, kind: type[nodes.Node]) -> bool:
    while node is not None and not isinstance(node, kind):
        node = node.parent
    return node is not None


def set_page_options(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    document: nodes.document | None,
) -> None:
    """Name the language of a translation; give wide tables the place of the contents.

    Pages cannot say so themselves: code hosts show such settings as a table.
    """
    if page == "README_zh-CN":
        context["language"] = "zh-CN"
    if page == "model_zoo":
        context["furo_hide_toc"] = True


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the above; Sphinx calls this."""
    app.add_transform(RepositoryLinks)
    app.connect("autodoc-process-docstring", keep_returns_whole, priority=100)
    app.connect("autodoc-process-signature", shorten_signature)
    app.connect("doctree-resolved", link_names)
    app.connect("html-page-context", set_page_options, priority=900)  # after furo
    return {"parallel_read_safe": True, "parallel_write_safe": True}
