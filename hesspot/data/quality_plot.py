"""A picture of the tests of a dataset's labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from hesspot.data.quality import Finding

_PASSED, _FAILED, _ODD = "#0072B2", "#D55E00", "#E69F00"
_COLUMNS = 3
#: Values are drawn down to this part of the limit; what is smaller is drawn there.
_DEPTH = 1e-8


def quality_figure(findings: Sequence[Finding]) -> Figure:
    """A histogram for each test with a limit above zero: how many structures have which defect, and the limit."""
    tests: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.limit > 0:
            tests.setdefault(finding.test, []).append(finding)
    rows = max(1, -(-len(tests) // _COLUMNS))
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(3.6 * _COLUMNS, 2.5 * rows + 0.3), layout=layout, dpi=150)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis in axes[len(tests) :]:
        axis.set_visible(False)
    for axis, (test, own) in zip(axes, tests.items(), strict=False):
        limit = own[0].limit
        values = np.maximum([finding.value for finding in own], _DEPTH * limit)
        top = 3 * max(limit, values.max())
        edges = np.geomspace(0.8 * min(values.min(), limit), top, 33)
        edges = np.unique(np.append(edges, limit))  # a bar is on one side of the limit
        beyond = _FAILED if own[0].tier == "wrong" else _ODD
        colors = [beyond if left >= limit else _PASSED for left in edges[:-1]]
        counts, _ = np.histogram(values, edges)
        axis.bar(edges[:-1], counts, width=np.diff(edges), align="edge", color=colors)
        axis.axvline(limit, color="0.25", linewidth=1.0, linestyle="--")
        axis.set(
            xscale="log",
            yscale="symlog",
            xlabel=test + (", robust σ" if test.startswith("outlier") else ""),
            ylabel="structures",
        )
        axis.set_ylim(0, 2 * max(counts.max(), 1))
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(f"{(values > limit).sum()} of {len(own)} beyond {limit:.2g}", fontsize=9)
    return figure
