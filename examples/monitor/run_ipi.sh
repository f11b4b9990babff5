#!/usr/bin/env bash
# The same with i-PI: a run that begins with one hot hydrogen is watched while it runs, and stopped.
#   bash run_ipi.sh OUT
set -eu
out=$(realpath -m "$1") here=$(realpath "$(dirname "$0")")
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
mkdir -p "$out"
cd "$out"
python "$here/hot_start.py" "$here/../lammps/water.data" hot.xyz
hesspot ipi-input nve hot.xyz shipped:water --out run --steps 20000 --stride 5

# what the watch reads: three files of one stride. format='ase' has eight decimals of Å, format='xyz' six digits
for what in positions forces velocities; do
  sed -i "s|  </output>|    <trajectory filename='$what' stride='5' format='ase'> $what </trajectory>\n  </output>|" run/input.xml
done
bash run/run.sh > ipi.txt 2>&1 &
ipi=$!
until [ -s run/simulation.velocities_0.extxyz ]; do kill -0 $ipi || { tail -3 ipi.txt; exit 1; }; sleep 0.2; done

status=0
hesspot monitor shipped:water run/simulation.positions_0.extxyz --forces run/simulation.forces_0.extxyz \
  --velocities run/simulation.velocities_0.extxyz --energies run/simulation.out --template run/start.xyz --out watch \
  --lowest 20 --patience 30 --limit distance=2 --on-limit 'touch run/EXIT' --stop --label 'tblite --method GFN1-xTB' || status=$?
wait $ipi
tail -3 ipi.txt
exit $status
