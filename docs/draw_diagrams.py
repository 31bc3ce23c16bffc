"""Draw docs/_static/diagrams/*.svg: one diagram per method, from C2-C5 to P2-P6.

What a method adds to FPN is orange, the rest grey; both are readable on light and dark
pages. ``python docs/draw_diagrams.py`` writes all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).parent / "_static" / "diagrams"
PLAIN, NEW, WORDS = "#64748b", "#d9730d", "#7b8794"
ROWS = (250, 180, 110, 40)  # centres of levels 2 to 5
ABOVE = -30  # centre of level 6
HEIGHT, HALF = 36, 26  # of a box, and half its width
Point = tuple[float, float]


class Diagram:
    """Boxes over arrows.

    Args:
        name: of the file, without ending.
        width: in pixels.
    """

    def __init__(self, name: str, width: int) -> None:
        self.name, self.width = name, width
        self.arrows: list[str] = []
        self.boxes: list[str] = []

    def words(self, x: float, y: float, text: str, colour: str = WORDS) -> None:
        """Write text around a point."""
        self.boxes.append(f'<text x="{x}" y="{y + 5}" fill="{colour}">{text}</text>')

    def box(
        self, x: float, y: float, text: str, colour: str = PLAIN, half: float = HALF
    ) -> None:
        """Draw a box around a point."""
        self.boxes.append(
            f'<rect x="{x - half}" y="{y - HEIGHT / 2}" width="{2 * half}" '
            f'height="{HEIGHT}" rx="6" fill="{colour}"/>'
        )
        self.words(x, y, text, "#ffffff")

    def column(self, x: float, letter: str, colours: Sequence[str] = (PLAIN,)) -> None:
        """Draw a box per level, finest first; one colour is for all."""
        for level, y in enumerate(ROWS, 2):
            self.box(x, y, f"{letter}{level}", (*colours, *colours * 3)[level - 2])

    def arrow(self, *points: Point, colour: str = PLAIN, dashed: bool = False) -> None:
        """Draw an arrow along points."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.arrows.append(
            f'<polyline points="{path}" stroke="{colour}" '
            f'marker-end="url(#m{colour[1:]})"'
            + (' stroke-dasharray="5 4"/>' if dashed else "/>")
        )

    def across(
        self,
        start: float,
        end: float,
        rows: Sequence[float] = ROWS,
        colour: str = PLAIN,
    ) -> None:
        """Draw an arrow per level from one column to another."""
        for y in rows:
            self.arrow((start + HALF, y), (end - HALF - 4, y), colour=colour)

    def exchange(self, start: float, end: float, rows: Sequence[float] = ROWS) -> None:
        """Draw an arrow from every level to every level."""
        for source in rows:
            for target in rows:
                self.arrow((start + HALF, source), (end - HALF - 4, target), colour=NEW)

    def path(
        self, x: float, label: str = "", colour: str = PLAIN, up: bool = False
    ) -> None:
        """Draw a column's top-down path, or its bottom-up path."""
        for lower, upper in pairwise(ROWS):
            ends = [(x, upper + 18), (x, lower - 22)]
            if up:
                ends = [(x, lower - 18), (x, upper + 22)]
            self.arrow(*ends, colour=colour)
            self.words(x + 24, (upper + lower) / 2, label, colour)

    def extra_level(self, x: float, name: str = "P6") -> None:
        """Draw level 6 above level 5."""
        self.box(x, ABOVE, name)
        self.arrow((x, ROWS[-1] - 18), (x, ABOVE + 22))

    def write(self) -> None:
        """Write the file."""
        heads = "".join(
            f'<marker id="m{c[1:]}" viewBox="0 0 8 8" refX="5" refY="4" '
            'markerWidth="5" markerHeight="5" orient="auto">'
            f'<path d="M0 0L8 4L0 8z" fill="{c}"/></marker>'
            for c in (PLAIN, NEW)
        )
        top, height = -60, 370
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" '
            f'height="{height}" viewBox="0 {top} {self.width} {height}" '
            'font-family="system-ui, sans-serif" font-size="14" text-anchor="middle">',
            f"<defs>{heads}</defs>",
            *('<g fill="none" stroke-width="2">', *self.arrows, "</g>"),
            *(*self.boxes, "</svg>"),
        ]
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{self.name}.svg"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def fpn(name: str, width: int, backbone: float = 40) -> Diagram:
    """Return FPN's columns: backbone C, laterals M, outputs P."""
    diagram = Diagram(name, width)
    for offset, letter in ((0, "C"), (140, "M"), (280, "P")):
        diagram.column(backbone + offset, letter)
    diagram.across(backbone, backbone + 140)
    return diagram


def main() -> None:
    """Draw every method."""
    s_alpha = fpn("s_alpha_fpn", 370)
    s_alpha.across(180, 320)
    s_alpha.path(180, "× α", NEW)
    s_alpha.extra_level(320)
    s_alpha.write()

    cfg = fpn("cfg_fpn", 370)
    cfg.exchange(180, 320)
    cfg.words(250, 292, "one group of channels each", NEW)
    cfg.extra_level(320)
    cfg.write()

    asff = fpn("asff", 510)
    asff.across(180, 320)
    asff.path(180)
    asff.exchange(320, 460, ROWS[:3])
    asff.across(320, 460, ROWS[3:])
    asff.column(460, "P′", (NEW, NEW, NEW, PLAIN))
    asff.words(390, 292, "× weight per position", NEW)
    asff.extra_level(320)
    asff.write()

    aug = fpn("augfpn", 510)
    aug.across(180, 320)
    aug.path(180)
    aug.box(110, ABOVE, "pool", NEW)
    aug.arrow((40, 22), (40, ABOVE), (80, ABOVE), colour=NEW)
    aug.arrow((136, ABOVE), (180, ABOVE), (180, 18), colour=NEW)
    for y in ROWS:
        aug.arrow((346, y), (425, 145 + (y - 145) * 0.1), colour=NEW)
        aug.arrow((180, y + 18), (180, y + 26), (136, y + 26), colour=NEW, dashed=True)
        aug.words(116, y + 26, "loss", NEW)
    aug.box(465, 145, "Soft-RoI", NEW, 36)
    aug.extra_level(320)
    aug.write()

    drfpn = fpn("drfpn", 520)
    drfpn.across(180, 320)
    drfpn.across(320, 460)
    drfpn.column(460, "N")
    drfpn.path(180, "SRB", NEW)
    drfpn.path(460, "CRB", NEW, up=True)
    drfpn.box(110, 40, "PPM", NEW)
    drfpn.extra_level(460, "N6")
    drfpn.write()

    auxiliary = fpn("auxiliary", 470, backbone=140)
    auxiliary.across(280, 420)
    auxiliary.path(280)
    for y in ROWS[:3]:
        auxiliary.arrow((114, y), (74, y), colour=NEW, dashed=True)
        auxiliary.box(40, y, "head", NEW, 30)
    auxiliary.words(72, 292, "in training only", NEW)
    auxiliary.extra_level(420)
    auxiliary.write()


if __name__ == "__main__":
    main()
