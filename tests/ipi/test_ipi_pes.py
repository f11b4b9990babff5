"""i-PI's own ways to call a Python potential give the numbers of the driver."""

import os
import subprocess
import sysconfig

import numpy as np
import pytest
from ipi_folders import run_folder, write_water

import ipi_driver.pes
from hesspot.errors import UserError
from hesspot.ipi.cases import write_case
from hesspot.ipi.inputs import RunSettings
from hesspot.ipi.run_script import write_run_script

pytestmark = pytest.mark.ipi

BEADS, STEPS = 4, 6

SHIM = ipi_driver.pes.__file__


@pytest.fixture(scope="module")
def by_socket(tmp_path_factory):
    """Model, folder of a path integral run over a socket, and its table."""
    folder = tmp_path_factory.mktemp("socket")
    atoms = write_water(folder / "model.pt")
    write_case("pimd", atoms, [folder / "model.pt"], folder, RunSettings(beads=BEADS, steps=STEPS, stride=1))
    run_folder(folder)
    return folder, np.loadtxt(folder / "simulation.out")


def copy_input(source, folder):
    text = (source / "input.xml").read_text()
    (folder / "start.xyz").write_text((source / "start.xyz").read_text())
    return text


@pytest.mark.parametrize("batch_size", [1, BEADS])
def test_ffdirect_is_the_driver_to_the_last_bit(by_socket, tmp_path, batch_size):
    source, table = by_socket
    text = copy_input(source, tmp_path)
    first, last = text.index("<ffsocket"), text.index("</ffsocket>") + len("</ffsocket>")
    direct = f"""<ffdirect name='hesspot' pbc='False'>
    <pes>custom</pes> <pes_path>{SHIM}</pes_path> <batch_size>{batch_size}</batch_size>
    <parameters>{{model: {source / "model.pt"}, template: start.xyz}}</parameters>
  </ffdirect>"""
    (tmp_path / "input.xml").write_text(text[:first] + direct + text[last:])
    write_run_script(tmp_path, {})
    run_folder(tmp_path)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "simulation.out"), table)


def test_i_pi_py_driver_is_the_driver_to_the_last_bit(by_socket, tmp_path):
    source, table = by_socket
    (tmp_path / "input.xml").write_text(copy_input(source, tmp_path))
    script = write_run_script(tmp_path, {"hesspot": source / "model.pt"})
    lines = script.read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines) if line.startswith("hesspot-ipi")]
    options = f'-u -a hesspot -S "$sockets/" -m custom -P {SHIM} -o model={source / "model.pt"},template=start.xyz'
    # i-PI's own driver does not wait for the server
    lines[number] = 'until [ -S "$sockets/hesspot" ]; do sleep 0.05; done\n' + (
        f'i-pi-py_driver {options} > driver-hesspot.log 2>&1 & processes="$processes $!"'
    )
    script.write_text("\n".join(lines) + "\n")
    run_folder(tmp_path)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "simulation.out"), table)


def test_ffdirect_ends_on_a_structure_without_an_answer(cliff, tmp_path):
    """Exit status not zero, and the structure in a file."""
    import ase

    pair = ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.05]])
    write_case("nvt", pair, [cliff], tmp_path, RunSettings(steps=5000, temperature=3000.0))
    text = (tmp_path / "input.xml").read_text()
    first, last = text.index("<ffsocket"), text.index("</ffsocket>") + len("</ffsocket>")
    direct = f"""<ffdirect name='hesspot' pbc='False'><pes>custom</pes><pes_path>{SHIM}</pes_path>
    <parameters>{{model: {cliff}, template: start.xyz}}</parameters></ffdirect>"""
    (tmp_path / "input.xml").write_text(text[:first] + direct + text[last:])
    program = f"{sysconfig.get_path('scripts')}/i-pi"
    result = subprocess.run(
        [program, "input.xml"], cwd=tmp_path, capture_output=True, text=True, timeout=200, env=os.environ
    )
    assert result.returncode != 0
    assert "not finite" in result.stderr + result.stdout
    assert len(list(tmp_path.glob("hesspot-ipi-failed-*.xyz"))) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({"pbc": "maybe"}, "pbc=maybe"), ({"dtype": "half"}, "dtype=half"), ({"template": "no.xyz"}, "does not exist")],
)
def test_parameters_are_checked(by_socket, options, words):
    source, _ = by_socket
    settings = {"model": str(source / "model.pt"), "template": str(source / "start.xyz"), **options}
    with pytest.raises(UserError, match=words):
        ipi_driver.pes.HesspotPES(**settings)


def test_another_number_of_atoms_is_refused(by_socket):
    source, _ = by_socket
    pes = ipi_driver.pes.HesspotPES(str(source / "model.pt"), str(source / "start.xyz"))
    with pytest.raises(UserError, match="2 atoms, the template 3"):
        pes(np.eye(3) * 100, np.arange(6.0))
