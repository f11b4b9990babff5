"""The report is one safe file with its figures inside and beside it; the figures show the numbers given."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hesspot.analysis import plots
from hesspot.analysis.html_report import Report
from hesspot.errors import UserError

PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """Tags, their attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def texts(figure: Figure) -> str:
    figure.canvas.draw()
    return "\n".join(artist.get_text() for artist in figure.findobj(match=lambda a: hasattr(a, "get_text")))


def test_report_is_one_file_with_its_figures_beside_it(tmp_path: Path) -> None:
    report = Report("a < b")
    report.section("Part & parcel")
    report.text("one **bold** and `x < y` <script>alert(1)</script>\n\n- first\n- second")
    report.table([["Hessian", 1.5], ["forces", "<b>"]], ["quantity", "eV/Å²"], caption="numbers")
    report.figure(plots.bars({"cost, s": {"E-F": 1.0, "E-F-H": 3.0}}), 'what "it" costs', name="cost")
    report.figure(plots.bars({"cost, s": {"E-F": 2.0}}), "again")
    written = report.write(tmp_path / "report.html")
    assert [path.name for path in written] == ["report.html", "cost.png", "figure-2.png"]
    assert sorted(tmp_path.iterdir()) == sorted(written)

    text = written[0].read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert "script" not in [tag for tag, _ in page.tags]
    assert "<script>alert(1)</script>" in page.words
    assert {"strong", "code", "ul", "caption"} <= {tag for tag, _ in page.tags}
    assert "b" not in [tag for tag, _ in page.tags]
    images = page.attributes("img")
    assert images[0]["alt"] == 'what "it" costs'
    for image, path in zip(images, written[1:], strict=True):
        data = base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,"))
        assert data.startswith(PNG)
        assert data == path.read_bytes()
    assert not re.search(r"(src|href)=\"(?!data:)", text)


def test_bad_tables_and_folders_are_refused(tmp_path: Path) -> None:
    report = Report("title")
    with pytest.raises(UserError, match="1 cells was given for 2 columns"):
        report.table([["alone"]], ["a", "b"])
    with pytest.raises(UserError, match="nowhere"):
        report.write(tmp_path / "nowhere" / "report.html")


def test_parity_states_the_errors_of_each_model() -> None:
    reference = [np.diag([1.0, 50.0, -3.0]), np.eye(6)]
    shifted = [matrix + 0.25 for matrix in reference]
    shown = texts(plots.hessian_parity(reference, {"E-F": shifted, "E-F-H": reference}))
    assert "RMSE 0.25\nMAE 0.25 eV/Å²" in shown
    assert "RMSE 0\nMAE 0 eV/Å²" in shown


def test_other_figures_show_what_they_were_given() -> None:
    frequencies = plots.frequency_errors(["H2O", "HCN"], {"E-F": [100.0, 200.0], "E-F-H": [10.0, 5.0]})
    assert "E-F-H" in texts(frequencies)
    assert "(mean" not in texts(frequencies)  # of molecules it would be another number than the table's, of modes
    times = np.arange(5000) * 0.5
    drift = plots.energy_drift(times, -10 + 1e-6 * np.sin(times), 3, slope=2e-6, error=1e-7)
    assert "drift 2 ± 0.1 µeV/atom/ps" in texts(drift)
    settling = np.where(np.arange(5000) < 1000, 0.0, 0.75)
    traces = plots.energy_traces(times, {"potential": settling}, discard=0.2)
    assert "potential (mean 0.75)" in texts(traces)
    curves = plots.learning_curves({"E-F": (np.arange(1, 9), np.arange(8, 0, -1))}, "force RMSE, eV/Å")
    assert "force RMSE, eV/Å" in texts(curves)
