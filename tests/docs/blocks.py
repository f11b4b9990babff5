"""The code blocks of the pages, and what HTML comments directly before them say to the tests:

<!-- not run: REASON -->       its command lines are parsed only
<!-- before: LINES -->         what runs first and is not shown, in the block's language; after: likewise
<!-- file: NAME -->            the block is a file, which blocks further down use
<!-- needs: MODULE -->         it is left out where this Python module is missing
<!-- shortened: OLD => NEW --> what is replaced, so that it takes seconds
<!-- output -->                a text block: what the block before it prints, numbers to the last digit but one
"""

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for folder in ("docs", "examples", "benchmarks") for page in (ROOT / folder).rglob("*.md")),
    ]
)
RUN = ("bash", "python", "lammps", "yaml")
#: Languages that nothing can run: text, what Sphinx reads, and pieces of input of other programs.
SHOWN = ("text", "xml", "c", "{toctree}", "{eval-rst}")
COMMENT = re.compile(r"<!--\s*(not run|before|after|file|needs|shortened|output)\s*:?\s*(.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, its place, and the comments before it as (word, text)."""

    page: Path
    line: int
    language: str
    text: str
    comments: tuple[tuple[str, str], ...]

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def said(self, word: str) -> list[str]:
        return [text for name, text in self.comments if name == word]

    def work(self) -> str:
        """What the tests run."""
        text = self.text
        for replacement in self.said("shortened"):
            old, _, new = replacement.partition(" => ")
            assert old in text, f"{self.place}: nothing to shorten, {old!r} is not in the block"
            text = text.replace(old, new.replace("\\n", "\n"))
        return "\n".join([*self.said("before"), text, *self.said("after")])


def blocks_of(page: Path) -> list[Block]:
    found, comments = [], []
    for token in MarkdownIt().enable("table").parse(page.read_text()):
        if token.type == "html_block":
            comments += COMMENT.findall(token.content)
        elif token.type in ("fence", "code_block"):
            language = (token.info.split() or [""])[0] if token.type == "fence" else ""
            found.append(Block(page, token.map[0] + 1, language, token.content, tuple(comments)))
            comments = []
        else:
            comments = []
    return found


def command_lines(text: str) -> list[str]:
    """Lines of a shell script, continued ones joined, those of a heredoc with the line that opens it."""
    lines: list[str] = []
    end = None
    for line in text.splitlines():
        if end is not None:
            lines[-1] += "\n" + line
            end = None if line == end else end
        elif lines and lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1].rstrip() + " " + line.strip()
        elif line.strip() and not line.lstrip().startswith("#"):
            lines.append(line)
            opened = re.search(r"<<\s*'?(\w+)'?", line)
            end = opened and opened[1]
    return lines
