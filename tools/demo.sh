#!/usr/bin/env bash
# The demo: makes a synthetic tiny-person set, estimates α, trains RetinaNet with
# S-α FPN on its tiles, tests as the TinyPerson benchmark does (AP50 and MR50 by size),
# and draws what was found. No downloads of data or weights.
# Options are those of tools/demo.py (bash tools/demo.sh --help).
set -euo pipefail
clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
bash "$clone/tools/setup.sh" --quiet

# Threads that wait for each other by spinning make a training step many times slower
# where other work shares the cores.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE}
export PYTHONWARNINGS=${PYTHONWARNINGS:-ignore:pkg_resources is deprecated:UserWarning}
exec "$clone/.venv/bin/python" "$clone/tools/demo.py" "$@"
