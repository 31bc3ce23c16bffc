"""docs/README_zh-CN.md says what README.md says: code, numbers, names and links."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = ROOT / "README.md"
CHINESE = ROOT / "docs" / "README_zh-CN.md"
HINT = "translate the change into docs/README_zh-CN.md"
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)]+)\)")


def read(page: Path) -> str:
    """Return a page without the line that leads to the other language."""
    other = os.path.relpath(CHINESE if page == ENGLISH else ENGLISH, page.parent)
    lines = page.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if f"]({other})" not in line)


def sections(page: Path) -> list[tuple[str, str]]:
    """Return (heading, text without code blocks) of each section, in order."""
    text = FENCE.sub("", read(page))
    parts = re.split(r"^(#+ .*)$", text, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def rows(page: Path) -> list[str]:
    return [line for line in read(page).splitlines() if line.startswith("|")]


def numbers(text: str) -> Counter[str]:
    """Count the numbers of a text that are no part of a link's address."""
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", LINK.sub("]", text)))


def code_spans(text: str) -> Counter[str]:
    spans = re.findall(r"`([^`]+)`", text)
    return Counter(" ".join(span.split()) for span in spans)


def targets(page: Path, text: str) -> list[str]:
    """Return what the links lead to: addresses, and files as seen from the root."""
    found = []
    for link in LINK.findall(text):
        if "://" not in link:
            link = os.path.relpath(page.parent / link, ROOT)
        found.append(link)
    return found


def difference(english: Counter[str], chinese: Counter[str]) -> str:
    lacks = sorted((english - chinese).elements())
    has_more = sorted((chinese - english).elements())
    return f"the translation lacks {lacks} and has {has_more} in excess; {HINT}"


PAIRS = list(zip(sections(ENGLISH), sections(CHINESE), strict=False))
every_section = pytest.mark.parametrize(
    ("english", "chinese"), PAIRS, ids=[pair[0][0] for pair in PAIRS]
)


def test_code_blocks_are_equal() -> None:
    english, chinese = FENCE.findall(read(ENGLISH)), FENCE.findall(read(CHINESE))
    for number, (ours, theirs) in enumerate(zip(english, chinese, strict=False), 1):
        assert ours == theirs, f"code block {number} differs; {HINT}"
    assert len(english) == len(chinese), f"number of code blocks; {HINT}"


def test_headings_have_the_same_levels() -> None:
    levels = [
        [heading.split(" ")[0] for heading, _ in sections(page)]
        for page in (ENGLISH, CHINESE)
    ]
    assert levels[0] == levels[1], f"headings; {HINT}"


def test_paragraphs_are_as_many() -> None:
    for (heading, ours), (_, theirs) in PAIRS:
        counts = [
            len([p for p in re.split(r"\n\s*\n", text) if p.strip()])
            for text in (ours, theirs)
        ]
        assert counts[0] == counts[1], f"paragraphs of {heading!r}; {HINT}"


def test_table_rows_have_the_same_numbers() -> None:
    english, chinese = rows(ENGLISH), rows(CHINESE)
    assert len(english) == len(chinese) > 5, f"number of table rows; {HINT}"
    for ours, theirs in zip(english, chinese, strict=True):
        assert ours.count("|") == theirs.count("|"), ours
        found = difference(numbers(ours), numbers(theirs))
        assert numbers(ours) == numbers(theirs), f"{ours}\n{found}"
        assert targets(ENGLISH, ours) == targets(CHINESE, theirs), ours


@every_section
def test_sections_have_the_same_numbers(
    english: tuple[str, str], chinese: tuple[str, str]
) -> None:
    ours, theirs = numbers("".join(english)), numbers("".join(chinese))
    assert ours == theirs, f"section {english[0]!r}: {difference(ours, theirs)}"


@every_section
def test_sections_have_the_same_code_in_their_text(
    english: tuple[str, str], chinese: tuple[str, str]
) -> None:
    ours, theirs = code_spans(english[1]), code_spans(chinese[1])
    assert ours == theirs, f"section {english[0]!r}: {difference(ours, theirs)}"


@every_section
def test_sections_have_the_same_links(
    english: tuple[str, str], chinese: tuple[str, str]
) -> None:
    ours = Counter(targets(ENGLISH, english[1]))
    theirs = Counter(targets(CHINESE, chinese[1]))
    assert ours == theirs, f"section {english[0]!r}: {difference(ours, theirs)}"


def test_links_exist() -> None:
    links = LINK.findall(CHINESE.read_text(encoding="utf-8"))
    assert "../README.md" in links
    for link in links:
        if "://" not in link:
            assert (CHINESE.parent / link.split("#")[0]).exists(), link


def test_it_is_chinese() -> None:
    """No paragraph was left in English, and punctuation is that of Chinese text."""
    for heading, text in sections(CHINESE)[1:]:
        assert re.search(r"[\u4e00-\u9fff]", heading), heading
        for paragraph in re.split(r"\n\s*\n", text):
            if paragraph.strip():
                assert re.search(r"[\u4e00-\u9fff]", paragraph), paragraph
        prose = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
        assert not re.search(r"[\u4e00-\u9fff][,;:()]|[,;:()][\u4e00-\u9fff]", prose)
