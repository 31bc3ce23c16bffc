#!/usr/bin/env bash
# Runs the tests in the environment of this clone, which is set up first if needed.
set -euo pipefail

usage() {
  cat <<'HELP'
usage: bash tools/test.sh [--full] [--help] [pytest arguments]

Runs the core suite (everything but the tests marked "long"), one process per core,
at most four. With pytest arguments, which choose some of the tests, it is one process.

  --full  the long tests as well
  --help  this text

All other arguments go to pytest, relative to the clone: bash tools/test.sh -k asff -x,
bash tools/test.sh tests/necks. The exit status is pytest's.
HELP
}

full=no
arguments=()
selects_marks=no
for argument in "$@"; do
  case $argument in
    --full) full=yes ;;
    -h | --help) usage; exit 0 ;;
    -m | -m?*) selects_marks=yes; arguments+=("$argument") ;;
    *) arguments+=("$argument") ;;
  esac
done
chosen=${#arguments[@]}
# A -m of the caller's own takes the place of ours.
if [[ $full == no && $selects_marks == no ]]; then arguments=(-m 'not long' ${arguments[@]+"${arguments[@]}"}); fi

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
started=$SECONDS
bash "$clone/tools/setup.sh" --quiet

# The tests use small tensors: more threads than cores only wait for each other.
# nproc answers OMP_NUM_THREADS where that is set.
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || echo 2)
threads=$((cores < 2 ? cores : 2))
if [[ $chosen == 0 ]]; then
  arguments+=(-n "$((cores < 4 ? cores : 4))" --dist worksteal)
  threads=1
  export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads} MKL_NUM_THREADS=${MKL_NUM_THREADS:-$threads}
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-$threads}
export MPLBACKEND=${MPLBACKEND:-Agg}  # no window from matplotlib
export PYTHONNOUSERSITE=1

status=0
cd "$clone"
.venv/bin/python -m pytest ${arguments[@]+"${arguments[@]}"} || status=$?
echo "tests took $((SECONDS - started)) s in all, set-up check included"
exit "$status"
