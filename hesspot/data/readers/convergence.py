"""SCFs that did not converge, in outputs that ASE reads without a look at that."""

import re
from pathlib import Path
from xml.etree import ElementTree

from hesspot.errors import UserError

#: What programs print of an SCF that did not converge, by ASE's name of the format.
_PRINTED = {
    "espresso-out": re.compile(r"convergence NOT achieved"),
    "aims-output": re.compile(r"Self-consistency cycle not (?:yet )?converged", re.IGNORECASE),
    "castep-castep": re.compile(r"has not reached the groundstate"),
    "gpaw-out": re.compile(r"Did not converge!"),
    "abinit-out": re.compile(r"was not enough SCF cycles to converge"),
}
_ITERATION = re.compile(r"-+ Iteration\s+(\d+)\(\s*(\d+)\)")


def require_converged(path: Path, ase_format: str) -> None:
    """UserError for an output with an SCF that did not converge: its forces are no derivatives of its energy."""
    if ase_format == "vasp-out":
        steps = _unconverged_in_outcar(path)
    elif ase_format == "vasp-xml":
        steps = _unconverged_in_vasprun(path)
    elif ase_format in _PRINTED:
        with path.open(errors="replace") as file:
            steps = [number for number, line in enumerate(file, 1) if _PRINTED[ase_format].search(line)][:1]
    else:
        return
    if steps:
        what = "line" if ase_format in _PRINTED else "ionic step"
        raise UserError(
            f"{path} has an SCF that did not converge ({what} {steps[0]}): converge it, or leave the calculation out"
        )


def _unconverged_in_outcar(path: Path) -> list[int]:
    """Ionic steps of an OUTCAR that took all their NELM iterations and did not come below EDIFF."""
    most, step = 0, 0
    iterations: dict[int, int] = {}
    bad = []
    with path.open(errors="replace") as file:
        for line in file:
            if (match := re.match(r"\s*NELM\s*=\s*(\d+)", line)) is not None:
                most = int(match[1])
            elif (match := _ITERATION.match(line)) is not None:
                step = int(match[1])
                iterations[step] = int(match[2])
            elif "EDIFF is reached" in line:
                iterations.pop(step, None)
            elif "EDIFF was not reached" in line:
                bad.append(step)
    return sorted({*bad, *(step for step, count in iterations.items() if most and count >= most)})


def _unconverged_in_vasprun(path: Path) -> list[int]:
    """Ionic steps of a vasprun.xml whose last of NELM iterations changed the energy by more than EDIFF."""
    most, threshold, step = 0, 0.0, 0
    energies: list[float] = []
    bad = []
    try:
        for _, element in ElementTree.iterparse(path):
            name = element.get("name", "")
            if name == "NELM":
                most = int(element.text or 0)
            elif name == "EDIFF":
                threshold = float(element.text or 0)
            elif element.tag == "scstep":
                energies += [float(i.text or "nan") for i in element.iter("i") if i.get("name") == "e_fr_energy"][:1]
            elif element.tag == "calculation":
                step += 1
                if most and len(energies) >= max(2, most) and not abs(energies[-1] - energies[-2]) <= threshold:
                    bad.append(step)
                energies = []
                element.clear()
    except (ElementTree.ParseError, ValueError):
        return bad  # of a run that was stopped, ASE reads what is whole
    return bad
