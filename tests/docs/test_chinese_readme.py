"""docs/README_zh-CN.md says what README.md says: code, numbers, names and links."""

import os
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "docs" / "README_zh-CN.md"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)]+)\)")


def paragraphs(page: Path) -> list[str]:
    """Return paragraphs, table rows and code blocks, without the language links."""
    text = page.read_text(encoding="utf-8").split("\n", 2)[2]
    code = FENCE.findall(text)
    text = FENCE.sub("\n\nCODE\n\n", text)
    parts = [p.strip() for p in re.split(r"\n\s*\n|\n(?=[|-])", text) if p.strip()]
    return [code.pop(0) if part == "CODE" else part for part in parts]


def facts(page: Path, text: str) -> Counter[str]:
    """Count numbers, code and links (as seen from the root)."""
    found = re.findall(r"`([^`]+)`", text)
    found += re.findall(r"\d+(?:[.,]\d+)*", LINK.sub("]", text))
    for link in LINK.findall(text):
        if "://" not in link:
            link = os.path.relpath(page.parent / link.split("#")[0], ROOT)
        found.append(link)
    return Counter(found)


def test_every_paragraph_has_the_same_facts() -> None:
    english, chinese = paragraphs(ENGLISH), paragraphs(CHINESE)
    for ours, theirs in zip(english, chinese, strict=True):
        if ours.startswith("```"):
            assert ours == theirs
        assert facts(ENGLISH, ours) == facts(CHINESE, theirs), (ours, theirs)
