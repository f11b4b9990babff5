"""The comparison as tables, for the terminal and for Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable

from hesspot.accuracy.table import number
from hesspot.study.cost import Cost
from hesspot.study.evaluate import PARTS
from hesspot.study.metrics import Metric, PairedTest, Summary

#: Largest reductions published for training on Hessians, %: change of RMSE against E-F by part and quantity, for
#: models trained on 28,000 stationary points (Rodriguez, Smith, Mendoza-Cortes, arXiv 2503.07839; the same authors'
#: projected Hessian learning, arXiv 2603.04523).
PUBLISHED = {
    ("Test", "Hessian"): -88.0,
    ("IRC", "Hessian"): -87.0,
    ("NMS", "Hessian"): -77.0,
    ("NMS", "force"): -48.0,
    ("NMS", "energy"): -29.0,
}

#: The unit in which a quantity is compared and drawn.
UNITS = {"energy": "meV/atom", "force": "meV/Å", "Hessian": "eV/Å²"}

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Cells of text under columns; the first column is a heading."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    caption: str = ""

    def markdown(self) -> str:
        """As Markdown, with its title in bold."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        cells = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        return "\n".join([f"**{self.title}**", "", *cells, *(["", self.caption] if self.caption else [])])

    def rich(self) -> RichTable:
        """For the terminal."""
        table = RichTable(title=self.title, title_justify="left", caption=self.caption or None, caption_justify="left")
        for place, column in enumerate(self.columns):
            table.add_column(column, justify="right" if place else "left", no_wrap=not place)
        for row in self.rows:
            table.add_row(*row)
        return table


class Lookup:
    """Summaries by arm, fraction and metric."""

    def __init__(self, summaries: Sequence[Summary]):
        self.summaries = {(s.arm, s.fraction, Metric(s.part, s.quantity, s.statistic, s.unit)): s for s in summaries}

    def get(self, arm: str, fraction: float, metric: Metric) -> Summary | None:
        """The summary, if there is one."""
        return self.summaries.get((arm, fraction, metric))

    def parts(self, fraction: float) -> list[str]:
        """The parts that have structures, in their order."""
        present = {metric.part for metric in self.metrics(fraction)}
        return [part for part in PARTS if part in present]

    def metrics(self, fraction: float) -> list[Metric]:
        """All metrics of a fraction, in their order."""
        return list(dict.fromkeys(metric for _, f, metric in self.summaries if f == fraction))


def changes_table(found: Lookup, arms: Sequence[str], reference: str, fraction: float) -> Table:
    """Change of the RMSE against the reference by part and quantity, beside the published figures."""
    others = [arm for arm in arms if arm != reference]
    rows = []
    for part in PARTS:
        for quantity, unit in UNITS.items():
            entries = [found.get(arm, fraction, Metric(part, quantity, "RMSE", unit)) for arm in others]
            if any(entry is not None for entry in entries):
                cells = [
                    NOTHING if e is None or e.change is None else signed(e.change, e.change_spread) for e in entries
                ]
                published = PUBLISHED.get((part, quantity))
                rows.append([f"{part}: {quantity}", *cells, NOTHING if published is None else signed(published, None)])
    return Table(
        f"Change of the RMSE against {reference}, %",
        ["", *others, "published, E-F-H"],
        rows,
        "Mean ± standard deviation over runs with the same seed.",
    )


def errors_table(found: Lookup, arms: Sequence[str], fraction: float) -> Table:
    """RMSE and MAE of energy, force and Hessian by part."""
    metrics = [metric for metric in found.metrics(fraction) if metric.part in PARTS]
    return Table(
        "Errors on the test part",
        ["", *arms],
        [
            [f"{m.part}: {m.quantity} {m.statistic}, {m.unit}", *(_cell(found.get(arm, fraction, m)) for arm in arms)]
            for m in metrics
        ],
        "Mean ± standard deviation over seeds.",
    )


def vibrations_table(found: Lookup, arms: Sequence[str], fraction: float) -> Table:
    """Frequencies, imaginary modes, lowest mode and barrier heights."""
    metrics = [m for m in found.metrics(fraction) if m.part not in PARTS and m.statistic != "wrong"]
    return Table(
        "Vibrations and barriers on the test part",
        ["", *arms],
        [[_heading(m), *(_cell(found.get(arm, fraction, m)) for arm in arms)] for m in metrics],
        "Mean ± standard deviation over seeds.",
    )


def _heading(metric: Metric) -> str:
    statistic = metric.statistic if metric.unit.startswith("of ") else f"{metric.statistic},"
    return f"{metric.part}: {metric.quantity}, {statistic} {metric.unit}".rstrip(" ,")


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return NOTHING
    return number(summary.mean) if summary.spread is None else f"{number(summary.mean)} ± {number(summary.spread)}"


def signed(value: float, spread: float | None) -> str:
    """A percentage with its sign and, where known, its spread."""
    text = f"{value:+.1f}".replace("-", "−")
    return text if spread is None else f"{text} ± {spread:.1f}"


def tests_table(tests: Sequence[PairedTest], reference: str, fraction: float) -> Table:
    """Paired comparison over structures."""
    rows = [
        [
            f"{t.arm}, {t.part}: {t.quantity}, {t.unit}",
            f"{t.difference:+.3g}".replace("-", "−") + ("" if t.spread is None else f" ± {t.spread:.2g}"),
            f"{t.better} of {t.structures}",
            f"{t.p:.1g}",
        ]
        for t in tests
        if t.fraction == fraction
    ]
    return Table(
        f"Paired with {reference}, structure by structure",
        ["", "difference", "better on", "p"],
        rows,
        "Errors of a structure averaged over seeds; difference ± its standard deviation over seeds; p of the two-sided "
        "Wilcoxon signed-rank test over structures, which takes structures of one system as independent.",
    )


def fractions_table(found: Lookup, arms: Sequence[str], sizes: dict[float, float]) -> Table:
    """RMSE of the Hessian and of the force for each fraction; `sizes`: mean number of training structures of each."""
    rows = []
    for part in PARTS:
        for quantity in ("force", "Hessian"):
            metric = Metric(part, quantity, "RMSE", UNITS[quantity])
            for fraction, size in sizes.items():
                cells = [_cell(found.get(arm, fraction, metric)) for arm in arms]
                if any(cell != NOTHING for cell in cells):
                    rows.append([f"{part}: {quantity}, {metric.unit}", f"{fraction:g}", f"{size:.0f}", *cells])
    return Table(
        "RMSE by fraction of the training systems",
        ["", "fraction", "structures", *arms],
        rows,
        "Mean ± standard deviation over seeds, each with its own draw of systems.",
    )


def cost_table(costs: Sequence[Cost], reference: str) -> Table:
    """Time and memory of an epoch of each arm, and relative to the reference."""
    base = next((cost for cost in costs if cost.arm == reference), None)

    def relative(value: float, to: float | None) -> str:
        return f"{value / to:.2f}" if to else NOTHING

    return Table(
        "Cost of an epoch",
        [
            "",
            "seconds",
            f"relative to {reference}",
            "peak memory, MiB",
            "rise in the epoch, MiB",
        ],
        [
            [
                cost.arm,
                number(cost.seconds),
                relative(cost.seconds, base.seconds if base else None),
                f"{cost.peak_memory:.0f}",
                f"{cost.training_memory:.0f}",
            ]
            for cost in costs
        ],
        "Shortest of the epochs that were timed in turn in one process; memory of a process that trains one epoch.",
    )
