"""Normal modes that move, as part of an HTML page that needs nothing else: 3Dmol.js is inside of it."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms

#: 3Dmol.js as its makers publish it (N. Rego, D. Koes, Bioinformatics 31, 1322, 2015), and its licence beside it.
LIBRARY = Path(__file__).parent / "viewer" / "3Dmol-min.js"

#: Å, of the atom that moves most.
AMPLITUDE = 0.45

_SCRIPT = """
document.querySelectorAll(".modes").forEach(function (box) {
  const told = JSON.parse(box.querySelector("script").textContent);
  const choice = box.querySelector("select"), button = box.querySelector("button");
  let viewer = null, moving = true;
  function show() {
    const vectors = told.vectors[choice.value] || null;
    const rows = told.symbols.map(function (symbol, k) {
      const move = vectors ? vectors[k] : [0, 0, 0];
      return [symbol, ...told.positions[k], ...move].join(" ");
    });
    viewer.removeAllModels();
    const model = viewer.addModel([rows.length, "", ...rows].join("\\n"), "xyz");
    model.setStyle({}, { stick: { radius: 0.12 }, sphere: { scale: 0.28 } });
    model.vibrate(12, 1, true, viewer, null);
    move();
    viewer.render();
  }
  function move() {
    button.textContent = moving ? "stop" : "move";
    if (moving) viewer.animate({ loop: "backAndForth", interval: 50 }); else viewer.stopAnimate();
  }
  try {
    viewer = $3Dmol.createViewer(box.querySelector(".scene"), { backgroundColor: "white" });
    show();
    viewer.zoomTo();
    viewer.zoom(1.4);
    viewer.render();
    choice.onchange = show;
    button.onclick = function () { moving = !moving; move(); };
    box.dataset.ready = "yes";
  } catch (error) {
    box.querySelector(".scene").textContent = "This browser draws no 3D: " + error;
    box.dataset.ready = "no";
  }
});
"""


@cache
def library() -> str:
    """What a page with viewers has once, at its end."""
    return f"<script>{LIBRARY.read_text()}</script>\n<script>{_SCRIPT}</script>"


def mode_viewer(
    atoms: Atoms, frequencies: Sequence[float], displacements: np.ndarray, caption: str, labels: Sequence[str] = ()
) -> str:
    """HTML of a structure whose modes can be chosen. frequencies (m,) cm⁻¹, imaginary ones negative; displacements
    (m, n, 3) of any length; labels: words that stand beside the frequencies."""
    sizes = np.linalg.norm(displacements, axis=2).max(1, initial=1e-12)[:, None, None]
    to_viewer = np.eye(3) if atoms.pbc.any() else _broad_side(atoms.positions)
    told = {
        "symbols": list(atoms.symbols),
        "positions": (atoms.positions @ to_viewer).round(4).tolist(),
        "vectors": (AMPLITUDE * displacements @ to_viewer / sizes).round(4).tolist(),
    }
    names = [f"{abs(f):.0f}{'i' if f < 0 else ''} cm⁻¹" for f in frequencies]
    if labels:
        names = [f"{name} · {html.escape(label)}" for name, label in zip(names, labels, strict=True)]
    first = 0 if len(names) and frequencies[0] < 0 else len(names) - 1  # the imaginary mode, else the stiffest
    options = "".join(
        f'<option value="{k}"{" selected" if k == first else ""}>{name}</option>' for k, name in enumerate(names)
    )
    label = html.escape(caption)
    return (
        f'<figure class="modes"><div class="scene" role="img" aria-label="{label}"></div>'
        f'<div class="controls"><label>mode <select>{options}</select></label> '
        '<button type="button">stop</button></div>'
        f"<figcaption>{label}</figcaption>"
        f'<script type="application/json">{json.dumps(told).replace("<", chr(92) + "u003c")}</script></figure>'
    )


def _broad_side(positions: np.ndarray) -> np.ndarray:
    """The rotation Q (3, 3) after which a molecule, positions·Q, is widest along x and thinnest along the view."""
    axes = np.linalg.svd(positions - positions.mean(0), full_matrices=True)[2]
    axes[2] *= np.linalg.det(axes)
    return np.asarray(axes.T)
