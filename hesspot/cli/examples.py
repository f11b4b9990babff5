"""The last lines of each command's help: calls that work."""

import typer

#: Of each command, one or two lines; `tests/docs/test_commands.py` parses them.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "sample": ("hesspot sample start.xyz --out more.xyz --way rattle=40 --keep 10 --model shipped:grown",),
    "label": (
        "hesspot label molecules.xyz --out labels.h5 --jobs 2",
        "hesspot label copper.xyz --out copper.h5 --program ase --calculator ase.calculators.emt:EMT --products 1",
    ),
    "data info": ("hesspot data info shipped:small_chno",),
    "data check": ("hesspot data check labels.h5 --plot labels.png",),
    "data convert": ("hesspot data convert orca/*.hess --out labels.h5 --split 0.8,0.1,0.1",),
    "train": ("hesspot train --template > config.yaml", "hesspot train config.yaml --out run"),
    "study": ("hesspot study --template > study.yaml", "hesspot study study.yaml --out study --jobs 2"),
    "distill": ("hesspot distill --template > distill.yaml", "hesspot distill distill.yaml --out copper"),
    "export": ("hesspot export run model.pt", "hesspot export run-1 run-2 mean.pt"),
    "models": ("hesspot models grown",),
    "reaction": ("hesspot reaction shipped:grown reactant.xyz product.xyz --out reaction",),
    "verify": ("hesspot verify model.pt --data labels.h5", "hesspot verify shipped:water --engines ase,lammps"),
    "vibrations": ("hesspot vibrations shipped:grown ethanol.xyz --html ethanol.html",),
    "spectrum": ("hesspot spectrum run --model shipped:grown --html spectrum.html",),
    "audit": ("hesspot audit 'lammps:in.si elements=Si' --html audit.html",),
    "monitor": ("hesspot monitor model.pt run.dump --out watch",),
    "phonons": ("hesspot phonons shipped:copper cu.cif --html cu.html",),
    "lammps build": ("hesspot lammps build",),
    "lammps path": ("hesspot lammps path",),
    "lammps doctor": ("hesspot lammps doctor",),
    "lammps run": ("hesspot lammps run -n 2 in.water -var model shipped:water",),
    "lammps hessian": ("hesspot lammps hessian -n 2 in.minimum --out hessian.h5",),
    "lammps modes": ("hesspot lammps modes in.minimum --number 50 -var model model.pt",),
    "lammps vdos": ("hesspot lammps vdos -n 2 in.water --width 20",),
    "lammps spectrum": ("hesspot lammps spectrum -n 2 in.snapshot --out spectrum",),
    "ipi-input": ("hesspot ipi-input pimd start.xyz shipped:water --out run --beads 32",),
    "ipi-hessian": ("hesspot ipi-hessian shipped:grown start.xyz --for vibrations --out run --relax",),
    "ipi-frames": ("hesspot ipi-frames simulation.doubtful --template start.xyz --out doubtful.xyz",),
    "ase": ("hesspot ase run hesspot water.xyz -p model=shipped:water -f 0.01",),
}


def add_examples(app: typer.Typer, prefix: str = "") -> None:
    """Give each command of `app` its examples."""
    for command in app.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        command.epilog = "\n\n".join(["Examples:", *EXAMPLES.get(f"{prefix}{name}", ())])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{group.name or ''} ")
