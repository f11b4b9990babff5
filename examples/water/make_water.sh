#!/usr/bin/env bash
# Makes `shipped:water` from the shipped set, and with --labels the set, too, from nothing.
#   bash examples/water/make_water.sh water.pt [--labels]
# A quarter of an hour of one core, with labels half an hour. The run is kept in water.pt.parts, and a second call goes on.
set -eu
out=$(realpath "$1") here=$(realpath "$(dirname "$0")")
mkdir -p "$out.parts"
cd "$out.parts"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

cp "$here/water.yaml" water.yaml
if [ "${2:-}" = --labels ]; then
  [ -e labelled ] || python "$here/../reference_data/make_water_set.py" water_gfn1.h5
  touch labelled
  sed -i 's/^data: .*/data: water_gfn1.h5/' water.yaml
fi
hesspot train water.yaml --out run $([ -d run ] && echo --resume)
hesspot export run "$out"
