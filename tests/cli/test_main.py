"""Risk: a program that is slow to say who it is, or that lacks what every command line has."""

import subprocess
import sys

import pytest
from command_line import environment

import hesspot as package

#: Modules that take from a tenth of a second to seconds to import, which `--help` and `--version` must not wait for.
HEAVY = {"torch", "numpy", "scipy", "ase", "h5py", "matplotlib", "rich.progress"}


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["train", "--help"], ["data", "--help"]])
def test_help_and_version_import_nothing_heavy(words):
    program = (
        "import sys\nfrom hesspot.cli.main import main\n"
        f"sys.argv = ['hesspot', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(hesspot):
    done = hesspot("--version")
    assert (done.returncode, done.stdout) == (0, f"hesspot {package.__version__}\n")


@pytest.mark.parametrize(("word", "completed"), [("tr", "train"), ("ver", "verify")])
def test_bash_completes_commands(word, completed):
    environ = environment(_HESSPOT_COMPLETE="complete_bash", COMP_WORDS=f"hesspot {word}", COMP_CWORD="1")
    program = "import sys; sys.argv[0] = 'hesspot'; from hesspot.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=False)
    assert done.stdout.split() == [completed]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("verify shipped : gr", ["grown"]),
        ("data info shipped:small", ["shipped:small_chno"]),
        ("verify model.pt --engines ase,lam", ["ase,lammps"]),
        ("phonons start.x", ["start.xyz"]),
    ],
)
def test_bash_completes_names_and_files(words, completed, tmp_path):
    (tmp_path / "start.xyz").touch()
    count = str(len(words.split()))
    environ = environment(_HESSPOT_COMPLETE="complete_bash", COMP_WORDS=f"hesspot {words}", COMP_CWORD=count)
    program = "import sys; sys.argv[0] = 'hesspot'; from hesspot.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert done.stdout.split() == completed, done.stderr


def test_a_wrong_option_is_status_2_and_no_command_shows_the_help(hesspot):
    assert hesspot("train", "--frobnicate").returncode == 2
    assert "verify" in hesspot().stdout + hesspot().stderr
