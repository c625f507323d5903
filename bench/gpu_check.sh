#!/usr/bin/env bash
# What a GPU says of this package: first its tests, then the figures. Needs no ROS, no set-up and no network, takes what
# `PYTHON` (python3) has, names what it skips, and ends within eight minutes.
#     bench/gpu_check.sh [FOLDER]    leaves tests.txt, figures.txt, <gpu>.json and kernels-*.txt there (gpu_check)
set -uo pipefail
out=$(realpath -m "${1:-gpu_check}")
cd "$(dirname "$0")/.." && mkdir -p "$out" || exit 1
python=${PYTHON:-python3}
if ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    echo "error: $python has no torch that finds a GPU; PYTHON=... names another" >&2
    exit 1
fi

within() { # SECONDS FILE COMMAND...
    local seconds=$1 file=$2
    shift 2
    timeout --kill-after=10 "$seconds" "$@" 2>&1 | tee "$out/$file"
    local code=${PIPESTATUS[0]}
    [ "$code" != 124 ] || echo "broken off after $seconds s" | tee -a "$out/$file"
    return "$code"
}

failed=0
within 150 tests.txt "$python" -m pytest -rs test/engine/cuda test/engine/preprocess/test_pixels.py || failed=1
within 310 figures.txt "$python" -m bench.gpu --out "$out" || failed=1
exit "$failed"
