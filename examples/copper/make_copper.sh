#!/usr/bin/env bash
# Makes `shipped:copper` from the shipped set, and with --labels the set, too, from nothing.
#   bash examples/copper/make_copper.sh copper.pt [--labels]
# Two minutes of one core, with labels three. The run is kept in copper.pt.parts, and a second call goes on.
set -eu
out=$(realpath "$1") here=$(realpath "$(dirname "$0")")
mkdir -p "$out.parts"
cd "$out.parts"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

cp "$here/copper.yaml" copper.yaml
if [ "${2:-}" = --labels ]; then
  [ -e labelled ] || python "$here/../reference_data/make_copper_set.py" copper_emt.h5
  touch labelled
  sed -i 's/^data: .*/data: copper_emt.h5/' copper.yaml
fi
hesspot train copper.yaml --out run $([ -d run ] && echo --resume)
hesspot export run "$out" --structures 2
