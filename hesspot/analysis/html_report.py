"""A self-contained HTML report: text, tables and figures in one file, and the figures as PNG beside it."""

import base64
import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from hesspot.analysis import path_viewer
from hesspot.analysis.mode_viewer import library, mode_viewer
from hesspot.errors import UserError
from hesspot.files import write_atomically

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --text: #1d2733; --soft: #51606f; --line: #dde2e8; --box: #fff;
  --stripe: #fafbfc; --code: #e9edf2; --good: #1a7f4b; --bad: #c2281d; }
@media (prefers-color-scheme: dark) { :root { --page: #14181d; --text: #e4e8ed; --soft: #a3b0bd; --line: #313a44;
  --box: #1b2127; --stripe: #20272e; --code: #2a323b; --good: #4fc38a; --bad: #ff7a6e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 1.2rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
p, ul { margin: .6rem 0; max-width: 44rem; }
code { font: .9em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; background: var(--code);
  padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; background: var(--box); border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .7rem .8rem .3rem; font-weight: 600; }
th, td { padding: .4rem .8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
th { border-top: 0; border-bottom: 2px solid var(--line); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 8rem; }
tbody tr:nth-child(even) { background: var(--stripe); }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 700; } .dim { color: var(--soft); }
figure { margin: 1.2rem 0; background: var(--box); border: 1px solid var(--line); border-radius: 6px; padding: .8rem; }
figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; background: #fff; }
figcaption { font-size: .9rem; color: var(--soft); margin-top: .5rem; }
.scene { position: relative; width: 100%; height: 20rem; background: #fff; }
.controls { margin-top: .6rem; }
.controls input { width: 50%; vertical-align: middle; }
.controls select, .controls button { font: inherit; padding: .2rem .5rem; }
@media (max-width: 40rem) {
  main { padding: 1.2rem .8rem 3rem; } h1 { font-size: 1.45rem; } th, td { padding: .35rem .55rem; } }
"""


class Report:
    """Collects sections, text, tables and figures in order and writes them as one HTML file.

    All text is escaped; in `text` only `code`, **bold**, paragraphs and lists are given a meaning.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]
        self._images: list[tuple[str, bytes]] = []
        self._has_scenes = False

    def section(self, heading: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{html.escape(heading)}</h2>")

    def text(self, text: str) -> None:
        """Paragraphs, parted by empty lines; lines that begin with `- ` make a list."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            lines = paragraph.splitlines()
            if all(line.lstrip().startswith("- ") for line in lines):
                items = "".join(f"<li>{_inline(line.lstrip()[2:])}</li>" for line in lines)
                self._parts.append(f"<ul>{items}</ul>")
            else:
                self._parts.append(f"<p>{_inline(paragraph)}</p>")

    def table(
        self,
        rows: Sequence[Sequence[object]],
        columns: Sequence[str],
        caption: str = "",
        marks: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """A table; the first column is left-aligned. marks: for cells of some text a class, of good, bad and dim.

        UserError for a row of another length than `columns`.
        """

        def cell(value: object) -> str:
            mark = marks.get(str(value))
            return f'<td class="{mark}">{_inline(str(value))}</td>' if mark else f"<td>{_inline(str(value))}</td>"

        for row in rows:
            if len(row) != len(columns):
                raise UserError(
                    f"a row of {len(row)} cells was given for {len(columns)} columns of the table {caption!r}"
                )
        head = "".join(f'<th scope="col">{_inline(column)}</th>' for column in columns)
        body = "\n".join("<tr>" + "".join(map(cell, row)) + "</tr>" for row in rows)
        title = f"<caption>{_inline(caption)}</caption>" if caption else ""
        self._parts.append(
            f'<div class="wide"><table>{title}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
        )

    def figure(self, figure: Figure, caption: str, name: str = "") -> None:
        """A figure with its caption; its PNG beside the report is called NAME.png (figure-1.png, … by default)."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150)
        data = buffer.getvalue()
        self._images.append((f"{name or f'figure-{len(self._images) + 1}'}.png", data))
        encoded = base64.b64encode(data).decode("ascii")
        self._parts.append(
            f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{encoded}">'
            f"<figcaption>{_inline(caption)}</figcaption></figure>"
        )

    def modes(
        self,
        atoms: Atoms,
        frequencies: Sequence[float],
        displacements: np.ndarray,
        caption: str,
        labels: Sequence[str] = (),
    ) -> None:
        """A structure in 3D whose modes move, see `mode_viewer`."""
        self._parts.append(mode_viewer(atoms, frequencies, displacements, caption, labels))
        self._has_scenes = True

    def path(self, frames: Sequence[Atoms], labels: Sequence[str], start: int, caption: str) -> None:
        """A path of structures to walk along, see `path_viewer`."""
        self._parts.append(path_viewer.path_viewer(frames, labels, start, caption))
        self._has_scenes = True

    def write(self, path: str | Path, *, alone: bool = False) -> list[Path]:
        """Write the report and its PNGs, each complete or not at all; the paths written, the report first.

        alone: no PNGs beside it.
        """
        path = Path(path)
        body = "\n".join(self._parts)
        scripts = library() + path_viewer.script() if self._has_scenes else ""
        page = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(self.title)}</title>\n<style>{STYLE}</style></head>\n"
            f"<body><main>\n{body}\n</main>{scripts}</body></html>\n"
        )
        images = [] if alone else [(path.parent / name, data) for name, data in self._images]
        for target, data in [*images, (path, page.encode("utf-8"))]:
            write_atomically(target, data)
        return [path, *(target for target, _ in images)]


def _inline(text: str) -> str:
    escaped = html.escape(text)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)
