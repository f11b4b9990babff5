"""A path of structures to walk along, as part of an HTML page that needs nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

from ase import Atoms

#: Milliseconds of a structure while it moves.
INTERVAL = 80

_SCRIPT = """
document.querySelectorAll(".path").forEach(function (box) {
  const told = JSON.parse(box.querySelector("script").textContent);
  const slider = box.querySelector("input"), button = box.querySelector("button"), words = box.querySelector("output");
  let viewer = null, timer = null, step = 1;
  function show() {
    const k = Number(slider.value);
    const rows = told.symbols.map(function (symbol, a) { return [symbol, ...told.positions[k][a]].join(" "); });
    viewer.removeAllModels();
    viewer.addModel([rows.length, "", ...rows].join("\\n"), "xyz").setStyle(
      {}, { stick: { radius: 0.12 }, sphere: { scale: 0.28 } });
    viewer.render();
    words.textContent = told.labels[k];
  }
  function next() {
    const k = Number(slider.value);
    if (k + step < 0 || k + step >= told.positions.length) step = -step;
    slider.value = k + step;
    show();
  }
  function stop() { clearInterval(timer); timer = null; button.textContent = "move"; }
  try {
    viewer = $3Dmol.createViewer(box.querySelector(".scene"), { backgroundColor: "white" });
    show();
    viewer.zoomTo();
    viewer.zoom(0.8);
    viewer.render();
    slider.oninput = function () { stop(); show(); };
    button.onclick = function () {
      if (timer) { stop(); } else { timer = setInterval(next, INTERVAL); button.textContent = "stop"; }
    };
    box.dataset.ready = "yes";
  } catch (error) {
    box.querySelector(".scene").textContent = "This browser draws no 3D: " + error;
    box.dataset.ready = "no";
  }
});
""".replace("INTERVAL", str(INTERVAL))


def script() -> str:
    """What a page with paths has once, after 3Dmol.js."""
    return f"<script>{_SCRIPT}</script>"


def path_viewer(frames: Sequence[Atoms], labels: Sequence[str], start: int, caption: str) -> str:
    """HTML of structures with the same atoms, of which `start` is seen first; labels: a line for each."""
    told = {
        "symbols": list(frames[0].symbols),
        "positions": [frame.positions.round(4).tolist() for frame in frames],
        "labels": list(labels),
    }
    label = html.escape(caption)
    return (
        f'<figure class="path"><div class="scene" role="img" aria-label="{label}"></div>'
        f'<div class="controls"><input type="range" min="0" max="{len(frames) - 1}" value="{start}" '
        'aria-label="point of the path"> <button type="button">move</button> <output></output></div>'
        f"<figcaption>{label}</figcaption>"
        f'<script type="application/json">{json.dumps(told).replace("<", chr(92) + "u003c")}</script></figure>'
    )
