"""Risk: a page that nobody finds, since the site's navigation does not lead to it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "index.md"


def test_every_page_has_its_line_in_the_navigation():
    blocks = re.findall(r"^```\{toctree\}\n(.*?)^```", INDEX.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith(":")]
    entries = [line.split("<")[-1].rstrip(">") for line in lines]
    listed = [(INDEX.parent / f"{entry}.md").resolve() for entry in entries]
    assert len(listed) == len(set(listed)), "a page stands twice in docs/index.md"
    pages = {*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md")}
    pages |= {page for folder in ("docs", "examples") for page in (ROOT / folder).rglob("*.md")}
    missing = sorted(str(page.relative_to(ROOT)) for page in pages - set(listed) - {INDEX})
    assert missing == [], "add a line for each in docs/index.md"
    assert set(listed) <= pages
