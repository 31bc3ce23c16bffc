"""The site: these pages and an API reference from docstrings, by Sphinx.

``bash tools/docs.sh`` builds it. The pages are read on a code host as well, and this
repository has no address that the site could link to. Hence what is here beyond
Sphinx's own settings:

- Links out of this folder. Those to a README lead to its page of the site, those to
  a config or another file to a copy of the file.
- Names of code, such as ``fpn_necks.necks.AugFPN``, and of pages lead to their place.
- Corrections of what autodoc and napoleon read out of docstrings and signatures; the
  necks' signatures name the arguments that they pass on.
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import make_refnode

from fpn_necks import __version__
from fpn_necks.necks import PyramidNeck

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
exclude_patterns = ["_build", "results/**"]
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

# File of the repository -> page of the site.
PAGES = {
    f"docs/{path.relative_to(DOCS).as_posix()}": (
        path.relative_to(DOCS).with_suffix("").as_posix()
    )
    for path in DOCS.rglob("*.md")
    if "_build" not in path.parts
}
PAGES["README.md"] = "index"
PAGES |= {
    f"configs/{path.stem}/README.md": f"methods/{path.stem}"
    for path in (DOCS / "methods").glob("*.md")
}


class RepositoryLinks(SphinxTransform):
    """Turns links to READMEs into links to pages."""

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
            here = DOCS / f"{self.env.docname}.md"
            path = os.path.normpath(here.parent / target.split("#")[0])
        if not (os.path.exists(path) and Path(path).is_relative_to(ROOT)):
            return  # Sphinx warns
        name = Path(path).relative_to(ROOT).as_posix()
        page = PAGES.get(name)
        if page is None:
            return  # Sphinx copies the file
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


def name_shared_arguments(
    app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]
) -> None:
    """Give what a neck passes on to ``PyramidNeck`` a name in its list of arguments."""
    if not (inspect.isclass(item) and issubclass(item, PyramidNeck)):
        return
    for index, line in enumerate(lines):
        if line.strip() == "**kwargs: see ``*args``.":
            lines[index] = ""
        else:
            line = line.replace("*args: the", "in_channels to init_cfg: the")
            lines[index] = line.replace("**kwargs: see ``*args``.", "upsample_cfg:")


def improve_signature(
    app: Sphinx,
    what: str,
    name: str,
    item: Any,
    options: Any,
    arguments: str,
    returns: str,
) -> tuple[str, str] | None:
    """Name the arguments that a neck passes on; make dataclasses' defaults readable."""
    if inspect.isclass(item) and issubclass(item, PyramidNeck):
        own = inspect.signature(item).parameters
        if any(p.kind is p.VAR_KEYWORD for p in own.values()):
            shared = inspect.signature(PyramidNeck).parameters
            named = [p for p in own.values() if p.kind is p.KEYWORD_ONLY]
            merged = [p.replace(annotation=p.empty) for p in (*shared.values(), *named)]
            text = str(inspect.Signature(merged))
            return text.replace(repr(shared["init_cfg"].default), "..."), returns
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
    app.connect("autodoc-process-docstring", name_shared_arguments, priority=90)
    app.connect("autodoc-process-signature", improve_signature)
    app.connect("doctree-resolved", link_names)
    app.connect("html-page-context", set_page_options, priority=900)  # after furo
    return {"parallel_read_safe": True, "parallel_write_safe": True}
