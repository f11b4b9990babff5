"""The folder of an i-PI run, and its `run.sh`, which starts i-PI and its drivers and ends them together."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hesspot.errors import UserError
from hesspot.files import write_atomically
from hesspot.models.shipped import find_model

#: Files of a run: what it is made of, what it goes on from, and what it writes.
_OF_A_RUN = re.compile(
    r"input\.xml|start\.xyz|run\.sh|doubtful\.xyz|hessian\.dat|dynmat\.dat|RESTART|EXIT|(l\d+_)?simulation\..+"
)

#: Those that a run goes on from, or ends at.
_STATE = re.compile(r"RESTART|EXIT|simulation\.checkpoint.*")

_SCRIPT = r"""#!/usr/bin/env bash
# Starts i-PI and its drivers, and ends when all have ended; logs in i-pi.log and driver-*.log. When one fails, all end.
# A second call goes on where the run was ended or killed; `run.sh STEPS` goes on to another number of steps.
set -eu
cd "$(dirname "$0")"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # the fastest for molecules; take more for large structures

input=input.xml from=0
for state in RESTART simulation.checkpoint; do
  # i-PI does not write them at once: one that was cut off is none
  if grep -qs '</simulation>' "$state"; then
    step=$(tr -d ' \n' < "$state" | grep -o '<step>[0-9]*</step>' | head -n 1 | tr -dc 0-9)
    if [ "${step:-0}" -gt "$from" ]; then input=$state from=$step; fi
  fi
done
steps=${1:-$(tr -d ' \n' < input.xml | grep -o '<total_steps>[0-9]*<' | tr -dc 0-9)}
if [ "$from" -ge "$steps" ]; then
  echo "run.sh: the run has ended after $from steps; bash run.sh STEPS goes on to more"
  exit 0
fi
rm -f EXIT  # it ended an earlier run
if [ "$from" -gt 0 ]; then echo "run.sh: the run goes on at step $from ($input)"; fi
sed "s|<total_steps>.*</total_steps>|<total_steps>$steps</total_steps>|" "$input" > running.xml

sockets=$(mktemp -d)
processes=
end() {
  trap '' TERM INT HUP
  for process in $processes; do  # i-PI is the first: it writes RESTART and tells its drivers
    kill "$process" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 "$process" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$process" 2>/dev/null || true
  done
  rm -rf "$sockets"
  if [ -s simulation.doubtful ]; then
    hesspot ipi-frames simulation.doubtful --template start.xyz --out doubtful.xyz --overwrite || true
  fi
}
trap end EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
@START@
for _ in $processes; do wait -n; done
if ! [ RESTART -nt running.xml ]; then
  echo "run.sh: i-PI ended without writing RESTART; see i-pi.log" >&2
  exit 1
fi
"""


@contextlib.contextmanager
def new_run(folder: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder for the files of a run, which are moved to `folder` when the block ends well.

    UserError if `folder` holds a run, unless it may be overwritten: what that one would go on from is removed then.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give the name of a folder")
    there = sorted(name for name in os.listdir(folder) if _OF_A_RUN.fullmatch(name)) if folder.exists() else []
    if there and not overwrite:
        raise UserError(f"{folder} holds {there[0]} already; choose another folder, or say --overwrite")
    near = next(parent for parent in folder.parents if parent.is_dir())  # nothing is made before all went well
    with tempfile.TemporaryDirectory(dir=near, prefix=f".{folder.name}-") as temporary:
        yield Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in filter(_STATE.fullmatch, there):
            (folder / name).unlink()
        for path in Path(temporary).iterdir():
            os.replace(path, folder / path.name)


def write_run_script(
    folder: str | Path, drivers: Mapping[str, str | Path], *, private: bool = True, options: Sequence[str] = ()
) -> Path:
    """Write `run.sh`; drivers: the model file that each socket address is served with, none for i-PI alone; options of
    all drivers.

    Sockets live in a private folder, so that no other run and no left-over file is in the way, or, if not `private`,
    at /tmp/ipi_ADDRESS: the sockets of a committee are there whatever i-PI's option -S says. The script ends with
    status 0, or that of the first process that fails.
    """
    server, prefix = 'i-pi -S "$sockets/" running.xml', ' --prefix "$sockets/"'
    if not private:
        server, prefix = "i-pi running.xml", ""
    start = [f'{server} < /dev/null > i-pi.log 2>&1 & processes="$!"']
    for address, model in drivers.items():
        command = shlex.join(
            ["hesspot-ipi", str(find_model(model).resolve()), "--template", "start.xyz", "--unix", address, *options]
        )
        start.append(f'{command}{prefix} < /dev/null > driver-{address}.log 2>&1 & processes="$processes $!"')
    path = Path(folder) / "run.sh"
    write_atomically(path, _SCRIPT.replace("@START@", "\n".join(start)).encode())
    return path
