#!/usr/bin/env bash
# `make sanitize`, from the top of the checkout: run.sh FOLDER-OF-PROGRAMS [PYTEST-ARGUMENT…]
#
# The C++ parts with the compiler's own checks: AddressSanitizer and UndefinedBehaviorSanitizer for memory and
# arithmetic, under their Python tests and fuzzers; ThreadSanitizer for threads. The first finding ends the run.
set -euo pipefail
bin=$1
shift
folder=$PWD/build/sanitize

build() { # NAME FLAGS
  "$bin/cmake" -G Ninja -D CMAKE_MAKE_PROGRAM="$bin/ninja" -S tests/sanitize -B "$folder/$1" -D CMAKE_BUILD_TYPE=None \
    -D CMAKE_CXX_FLAGS="-O1 -g -fno-omit-frame-pointer $2" \
    >"$folder/$1.log" || { cat "$folder/$1.log"; exit 1; }
  "$bin/cmake" --build "$folder/$1" --target _kernels _steps threads model_file
}

mkdir -p "$folder"
build threads -fsanitize=thread
build memory "-fsanitize=address,undefined -fno-sanitize-recover=all"

echo "== threads under ThreadSanitizer"
TSAN_OPTIONS=die_after_fork=0 "$folder/threads/threads"
echo "== threads under AddressSanitizer and UndefinedBehaviorSanitizer"
"$folder/memory/threads"

echo "== damaged model files, under AddressSanitizer and UndefinedBehaviorSanitizer"
"$bin/python" tests/sanitize/small_model.py "$folder/small.pt"
"$folder/memory/model_file" "$folder/small.pt" "${DAMAGED_FILES:-20000}"

echo "== Python tests under AddressSanitizer and UndefinedBehaviorSanitizer"
tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
  tests=(tests/kernel tests/ipi/test_evaluator.py tests/ipi/test_fast_lane.py tests/ipi/test_wire.py
    tests/ipi/test_shm.py tests/ipi/test_fuzz.py tests/ipi/test_edges.py)
fi
# Python's own memory at exit is no leak of ours; AddressSanitizer takes more memory than a limit allows
HESSPOT_LIBRARIES=$folder/memory ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
  LD_PRELOAD="$(c++ -print-file-name=libasan.so) $(c++ -print-file-name=libstdc++.so)" \
  "$bin/python" -m pytest -q -p no:cacheprovider -k "not memory_that_runs_out" "${tests[@]}"
