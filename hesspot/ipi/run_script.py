"""`run.sh`: starts i-PI and its drivers in the folder of an input, and ends them together."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from hesspot.files import write_atomically


def write_run_script(
    folder: str | Path, drivers: Mapping[str, str | Path], *, private: bool = True, options: Sequence[str] = ()
) -> Path:
    """Write `run.sh`; drivers: the model file that each socket address is served with, none for i-PI alone; options of
    all drivers.

    Sockets live in a private folder, so that no other run and no left-over file is in the way, or, if not `private`,
    at /tmp/ipi_ADDRESS: the sockets of a committee are there whatever i-PI's option -S says. The script ends with
    status 0, or that of the first process that fails.
    """
    folder = Path(folder)
    server, prefix = 'i-pi -S "$sockets/" input.xml', ' --prefix "$sockets/"'
    if not private:
        server, prefix = "i-pi input.xml", ""
    start = [f'{server} > i-pi.log 2>&1 & processes="$!"']
    for address, model in drivers.items():
        command = shlex.join(
            ["hesspot-ipi", str(Path(model).resolve()), "--template", "start.xyz", "--unix", address, *options]
        )
        start.append(f'{command}{prefix} > driver-{address}.log 2>&1 & processes="$processes $!"')
    lines = [
        "#!/usr/bin/env bash",
        "# Starts i-PI and its drivers; logs in i-pi.log and driver-*.log. When one of them fails, all end.",
        "set -eu",
        'cd "$(dirname "$0")"',
        "export OMP_NUM_THREADS=1  # the fastest for molecules; take more for large structures",
        "sockets=$(mktemp -d)",
        "processes=",
        "trap 'kill $processes 2>/dev/null || true; rm -rf \"$sockets\"' EXIT",
        "trap 'exit 143' TERM INT",
        *start,
        "for _ in $processes; do wait -n; done",
        "",
    ]
    path = folder / "run.sh"
    write_atomically(path, "\n".join(lines).encode())
    return path
