#!/usr/bin/env bash
# Runs in.watched on two ranks, watches it while it runs, and stops it where it leaves what the model knows.
#   bash run_lammps.sh OUT
set -eu
out=$(realpath -m "$1") here=$(realpath "$(dirname "$0")")
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$out"
cd "$out"
hesspot lammps run -n 2 "$here/in.watched" -var data "$here/../lammps/water.data" > lammps.txt 2>&1 &
lammps=$!
until [ -s run.dump ]; do kill -0 $lammps || { tail -3 lammps.txt; exit 1; }; sleep 0.2; done

status=0
hesspot monitor shipped:water run.dump --out watch --energies log.lammps --lowest 20 --patience 30 \
  --limit distance=2 --on-limit 'touch STOP' --stop --label 'tblite --method GFN1-xTB' || status=$?
wait $lammps
tail -3 log.lammps
exit $status
