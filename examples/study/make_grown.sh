#!/usr/bin/env bash
# Makes `shipped:grown` from nothing: labels of GFN2-xTB, and two trainings from them on Hessians of the reference.
#   bash examples/study/make_grown.sh grown.pt
# Some hours of one core. Everything is kept beside the file, in grown.pt.parts, and a second call goes on there.
set -eu
out=$(realpath "$1") here=$(realpath "$(dirname "$0")")
mkdir -p "$out.parts"
cd "$out.parts"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

train() {  # CONFIG RUN SEED [START]
  { grep -v '^start_from:' "$here/$1"; echo "seed: $3"; if [ -n "${4:-}" ]; then echo "start_from: $4"; fi; } > "$2.yaml"
  hesspot train "$2.yaml" --out "$2" $([ -d "$2" ] && echo --resume)
}

if [ ! -e labelled ]; then
  python "$here/make_pretraining_set.py" xtb.h5 --jobs 2
  touch labelled
fi
for seed in 0 1; do
  train pretrain_large.yaml "xtb-large-$seed" "$seed"
  train grown.yaml "grown-$seed" "$seed" "xtb-large-$seed"
done
hesspot export grown-0 grown-1 "$out"
