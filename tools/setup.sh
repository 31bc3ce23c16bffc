#!/usr/bin/env bash
# Makes the working environment of this clone: .venv with the pinned stack
# (torch, torchvision, mmengine, mmcv with its compiled ops, mmdet) and fpn_necks
# itself, editable. Safe to run again, and after an interruption.
set -euo pipefail

# The pins, each of which can be overridden from the environment: the only place that
# names the versions this clone is tested with.
TORCH_VERSION=${TORCH_VERSION:-2.11.0}          # mmcv 2.1.0 does not compile from 2.14 on
TORCHVISION_VERSION=${TORCHVISION_VERSION:-0.26.0}  # must be the partner of that torch
MMENGINE_VERSION=${MMENGINE_VERSION:-0.10.7}
MMCV_VERSION=${MMCV_VERSION:-2.1.0}             # mmdet 3.3.0 refuses mmcv 2.2 and later
MMDET_VERSION=${MMDET_VERSION:-3.3.0}
NUMPY_VERSION=${NUMPY_VERSION:-}                # to hold to, for torch 2.2 and older
TORCH_PIP_ARGUMENTS=${TORCH_PIP_ARGUMENTS:-}    # for example an --index-url of CPU builds
# Free space for a first installation, in GB. Measured: 5.3 for the environment, 6.6 at
# the peak while packages are unpacked, 0.4 for compiling mmcv; the rest is room for
# pip's own cache of downloads, where it keeps one.
NEEDED_GB=${NEEDED_GB:-12}
NEEDED_GB_WITH_TORCH=${NEEDED_GB_WITH_TORCH:-2}  # when torch is installed already
OLDEST_PYTHON=10  # 3.10
NEWEST_PYTHON=12  # 3.12

usage() {
  cat <<HELP
usage: bash tools/setup.sh [--quiet] [--help]

Makes .venv in this clone: torch $TORCH_VERSION, torchvision $TORCHVISION_VERSION, mmengine $MMENGINE_VERSION,
mmcv $MMCV_VERSION with compiled ops, mmdet $MMDET_VERSION, the test tools, and fpn_necks, editable.
The first run takes 5 to 25 minutes (mmcv is compiled), a second clone 2 to 3, and
a run where everything is in place a few seconds.

  --quiet  print only the line of versions when nothing needs to be done

Environment:
  PYTHON               the Python to use (3.$OLDEST_PYTHON to 3.$NEWEST_PYTHON); default: the first that fits
  TORCH_VERSION, TORCHVISION_VERSION, MMENGINE_VERSION, MMCV_VERSION, MMDET_VERSION,
  NUMPY_VERSION        other versions than the tested ones
  TORCH_PIP_ARGUMENTS  extra words for pip when it installs torch
  MAX_JOBS             compilations at a time; default: the cores, with 2 GB of memory each
  TORCH_CUDA_ARCH_LIST GPU architectures to compile for; default: those present
  NEEDED_GB            free disk space asked for before a first installation
  XDG_CACHE_HOME       where the compiled mmcv is kept for the next clone
HELP
}

quiet=no
for argument in "$@"; do
  case $argument in
    --quiet) quiet=yes ;;
    -h | --help) usage; exit 0 ;;
    *) echo "tools/setup.sh: unknown option '$argument'" >&2; usage >&2; exit 2 ;;
  esac
done

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$clone/.venv
state=$clone/.setup
stamp=$venv/.fpn_necks_setup          # holds the pins of the last complete set-up
half_done=$venv/.fpn_necks_installing # exists while pip writes into the environment
venv_python=$venv/bin/python

# Packages of another environment must neither satisfy pip nor hide ours.
unset PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

child=''
say() { printf '%s\n' "$*"; }

fail() {  # fail WHAT REMEDY...: names the missing thing, then what to do about it
  printf '\nset-up failed: %s\n' "$1" >&2
  shift
  for remedy in "$@"; do printf '  remedy: %s\n' "$remedy" >&2; done
  exit 1
}

begin() { step_started=$SECONDS; say "==> $*"; }
finish() { say "    ${1:-done} ($((SECONDS - step_started)) s)"; }

stop_child() {
  if [[ -n $child ]]; then kill -TERM -- "-$child" 2>/dev/null || true; fi
}
trap 'stop_child; printf "\nset-up interrupted; run it again to go on from here\n" >&2; exit 130' INT TERM

# run_logged LOG COMMAND...: runs COMMAND with its output in LOG, and says every 30 s that
# it runs, with the last "[n/77]" of a compilation.
run_logged() {
  local log=$1 started=$SECONDS said=$SECONDS status=0
  shift
  set -m  # a process group of its own, so that an interruption ends all of it
  "$@" >"$log" 2>&1 </dev/null &
  child=$!
  set +m
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - said >= 30)); then
      said=$SECONDS
      say "    at work$(grep -oE '^ *\[[0-9]+/[0-9]+\]' "$log" | tail -n 1) ($((SECONDS - started)) s)"
    fi
  done
  wait "$child" || status=$?
  child=''
  return "$status"
}

explain_pip_failure() {  # explain_pip_failure WHAT LOG
  local what=$1 log=$2
  printf '\nthe end of %s:\n' "${log#"$clone"/}" >&2
  tail -n 15 "$log" | sed 's/^/    /' >&2
  if grep -qiE 'no space left' "$log"; then
    fail "$what: the disk is full" "free some space (a first set-up needs $NEEDED_GB GB) and run this again"
  elif grep -qiE 'name resolution|NewConnectionError|ConnectionError|ConnectTimeout|Read timed out|Network is unreachable|ProxyError|SSLError|CERTIFICATE_VERIFY' "$log"; then
    fail "$what: the package index cannot be reached" \
      "check the network, and 'pip config list' for the index, proxy and certificate; then run this again"
  elif grep -qiE 'No matching distribution|Could not find a version' "$log"; then
    fail "$what: the package index offers no such version for this Python ($("$venv_python" -V 2>&1))" \
      "another Python (PYTHON=...) or other versions (see bash tools/setup.sh --help)"
  fi
  fail "$what: pip failed" "read the lines above; the whole log is ${log#"$clone"/}"
}

pip_install() {  # pip_install LOG_NAME WHAT ARGUMENTS...
  local log=$state/$1.log what=$2
  shift 2
  : >"$half_done"
  run_logged "$log" "$venv_python" -m pip install --quiet "$@" ||
    explain_pip_failure "$what" "$log"
  rm -f "$half_done"
}

# --- What the machine offers
python_minor() {  # prints the minor version of a usable Python 3, nothing otherwise
  "$1" -c 'import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else "")' 2>/dev/null || true
}

is_supported() { [[ -n $1 ]] && (($1 >= OLDEST_PYTHON && $1 <= NEWEST_PYTHON)); }

choose_python() {
  local candidate minor found='' candidates=(python3 python3.12 python3.11 python3.10)
  if [[ -n ${PYTHON:-} ]]; then candidates=("$PYTHON"); fi
  for candidate in "${candidates[@]}"; do
    minor=$(python_minor "$candidate")
    if is_supported "$minor"; then python=$candidate; return; fi
    if [[ -n $minor ]]; then found+=" $candidate is Python 3.$minor, which is not supported;"; fi
  done
  if [[ -n ${PYTHON:-} && -z $found ]]; then found=" PYTHON=$PYTHON does not run"; fi
  fail "no Python 3.$OLDEST_PYTHON to 3.$NEWEST_PYTHON:${found:- no python3 runs}" \
    "install one (Debian, Ubuntu: apt-get install python3 python3-venv python3-dev; 3.$OLDEST_PYTHON to 3.$NEWEST_PYTHON) or name one: PYTHON=/path/to/python3.11 bash tools/setup.sh"
}

check_disk() {  # check_disk GB
  local free_kb
  free_kb=$(df -Pk "$clone" | awk 'NR == 2 { print $4 }')
  if ((free_kb < $1 * 1000 * 1000)); then
    fail "not enough disk space: $((free_kb / 1000 / 1000)) GB are free in $clone, about $1 GB are needed" \
      "free some space, move the clone to a larger disk, or set NEEDED_GB if you know better"
  fi
}

check_compiler() {  # mmcv's ops are C++17 that includes Python.h
  local compiler=${CXX:-c++} python=$1 headers
  command -v "${compiler%% *}" >/dev/null 2>&1 ||
    fail "no C++ compiler ('$compiler' was not found), and mmcv's ops must be compiled" \
      "Debian, Ubuntu: apt-get install g++; Fedora, RHEL: dnf install gcc-c++; or set CXX"
  # shellcheck disable=SC2086  # CXX may hold options
  $compiler -std=c++17 -fsyntax-only -x c++ - <<<'#include <optional>' 2>"$state/compiler.log" ||
    fail "the C++ compiler '$compiler' cannot compile C++17: $(last_error "$state/compiler.log")" \
      "install g++ 9 or newer (Debian, Ubuntu: apt-get install g++) or set CXX"
  headers=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  [[ -f $headers/Python.h ]] || fail "the Python headers are missing ($headers/Python.h), and mmcv's ops need them" \
    "Debian, Ubuntu: apt-get install python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-dev; Fedora, RHEL: dnf install python3-devel"
}

jobs_for_memory() {  # one compilation of mmcv against torch takes up to 2 GB
  local cores memory_kb limit fitting
  cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
  memory_kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null || echo 4000000)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || true)  # a container's own bound
  if [[ $limit =~ ^[0-9]+$ ]] && ((limit / 1024 < memory_kb)); then memory_kb=$((limit / 1024)); fi
  fitting=$((memory_kb / 2000000))
  echo $((fitting < 1 ? 1 : cores < fitting ? cores : fitting))
}

# Decides between CPU and CUDA ops: sets flavour (part of the cache key) and, for CUDA,
# TORCH_CUDA_ARCH_LIST. CUDA needs a GPU that answers, nvcc, and a torch of nvcc's
# CUDA major version (torch refuses to compile otherwise). nvcc alone is no reason.
choose_flavour() {
  local torch_cuda=$1 nvcc nvcc_version=''
  flavour=cpu flavour_note='CPU ops (no GPU here)'
  nvidia-smi -L >/dev/null 2>&1 || return 0
  nvcc=$(PATH="${CUDA_HOME:+$CUDA_HOME/bin:}$PATH:/usr/local/cuda/bin" command -v nvcc || true)
  if [[ -n $nvcc ]]; then nvcc_version=$("$nvcc" --version | sed -nE 's/.*release ([0-9]+\.[0-9]+).*/\1/p'); fi
  if [[ -z $torch_cuda || ${nvcc_version%%.*} != "${torch_cuda%%.*}" ]]; then
    flavour_note="CPU ops: nvcc is of CUDA ${nvcc_version:-none}, but this torch is of CUDA ${torch_cuda:-none}; GPU ops need a CUDA toolkit that agrees"
    return 0
  fi
  if [[ -z ${TORCH_CUDA_ARCH_LIST:-} ]]; then
    TORCH_CUDA_ARCH_LIST=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d ' ' | sort -u | paste -sd ';' -)
  fi
  CUDA_HOME=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
  export TORCH_CUDA_ARCH_LIST CUDA_HOME
  flavour=cuda-$torch_cuda-sm$(tr -d '.' <<<"$TORCH_CUDA_ARCH_LIST" | tr -c 'A-Za-z0-9\n' '-')
  flavour_note="CUDA ops for compute capability $TORCH_CUDA_ARCH_LIST"
}

# --- Checks of the environment: by import, since what is installed and what works differ
check_mmcv() {
  # In a folder without modules, and without writing bytecode of a wheel to be thrown away.
  (cd "$state" && "$venv_python" -W ignore - 2>"$state/check_mmcv.log" <<'PY'
import os

import torch
from mmcv.ops import nms

boxes, scores = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10]]), torch.tensor([0.9, 0.8])
for device in ["cpu"] + ["cuda"] * (os.environ.get("FLAVOUR", "cpu") != "cpu"):
    kept, _ = nms(boxes.to(device), scores.to(device), 0.5)
    assert len(kept) == 1, f"mmcv's nms kept {len(kept)} of two overlapping boxes on {device}"
PY
  )
}

check_all() {  # prints the line of versions
  (cd "$state" && CLONE=$clone PINS=$pins "$venv_python" -W ignore - 2>"$state/check.log" <<'PY'
import importlib.util
import os
import platform

import cv2
import mmcv
import mmdet
import mmengine
import numpy
import pytest  # noqa: F401
import torch
import torchvision
from mmcv.ops import nms

modules = [torch, torchvision, mmengine, mmcv, mmdet]
for module in modules:
    found = module.__version__.split("+")[0]
    pin = f"{module.__name__} {found} "
    assert pin in os.environ["PINS"], f"{module.__name__} is {found}"
boxes, scores = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10]]), torch.tensor([0.9, 0.8])
assert len(nms(boxes, scores, 0.5)[1]) == 1, "mmcv's nms is wrong"
assert len(torchvision.ops.nms(boxes, scores, 0.5)) == 1, "torchvision's nms is wrong"
assert torch.from_numpy(numpy.ones(2)).sum() == 2, "torch cannot read numpy arrays"
# Found, not imported: an error in the working copy is no fault of the environment.
place = importlib.util.find_spec("fpn_necks")
expected = os.path.join(os.environ["CLONE"], "fpn_necks", "__init__.py")
assert place and os.path.realpath(place.origin) == os.path.realpath(expected), (
    f"fpn_necks is {place and place.origin}, not this clone"
)
names = [f"{module.__name__} {module.__version__}" for module in modules]
names += [f"numpy {numpy.__version__}", f"opencv {cv2.__version__}"]
device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
print(f"Python {platform.python_version()}, {', '.join(names)}, {device}")
PY
  )
}

last_error() { tail -n 1 "$1" 2>/dev/null || true; }

# --- Steps
mkdir -p "$state" || fail "cannot write to $clone" "use a clone of your own"
if command -v flock >/dev/null 2>&1; then
  exec 9>"$state/lock"
  if ! flock -n 9; then
    say 'another set-up is running in this clone; waiting for it'
    flock 9
  fi
fi
pins="torch $TORCH_VERSION torchvision $TORCHVISION_VERSION mmengine $MMENGINE_VERSION mmcv $MMCV_VERSION mmdet $MMDET_VERSION numpy ${NUMPY_VERSION:-any} clone $clone layout 3"

if [[ -f $stamp && ! -e $half_done && $(cat "$stamp") == "$pins" ]]; then
  if versions=$(check_all); then
    if [[ $quiet == no ]]; then say 'already set up'; fi
    say "$versions"
    exit 0
  fi
  say "the environment no longer works ($(last_error "$state/check.log")); repairing it"
fi

# Inside .setup, so that a small /tmp does not matter and an interrupted pip leaves
# nothing behind for good.
rm -rf "$state/tmp"
mkdir -p "$state/tmp"
export TMPDIR=$state/tmp

if [[ -e $half_done ]]; then
  say 'an earlier set-up was interrupted while it installed packages; starting .venv afresh'
  rm -rf "$venv"
elif [[ -e $venv ]] && ! "$venv_python" -c 'import pip' >/dev/null 2>&1; then
  say '.venv is incomplete (its Python or pip does not run); starting it afresh'
  rm -rf "$venv"
fi

if [[ -e $venv ]]; then
  minor=$(python_minor "$venv_python")
  is_supported "$minor" || fail ".venv is of Python 3.$minor, which is not supported" \
    "remove it (rm -rf $venv) and run this again, with PYTHON=... if needed"
  python=$venv_python
else
  choose_python
fi
say "Python: $("$python" -c 'import platform, sys; print(platform.python_version(), "at", sys.executable)')"

if "$venv_python" -c 'import torch' >/dev/null 2>&1; then
  check_disk "$NEEDED_GB_WITH_TORCH"
else
  check_disk "$NEEDED_GB"
fi

cache=${XDG_CACHE_HOME:-${HOME:-$state}/.cache}/fpn_necks
mkdir -p "$cache" 2>/dev/null && [[ -w $cache ]] || { cache=$state/cache; mkdir -p "$cache"; }
python_tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
# Asked before the long downloads; not when a compiled mmcv is likely to be at hand.
if ! compgen -G "$cache/mmcv-${MMCV_VERSION}_torch-${TORCH_VERSION}*_${python_tag}_*/*.whl" >/dev/null; then
  check_compiler "$python"
fi

if [[ ! -e $venv ]]; then
  begin "making .venv"
  "$python" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    fail "the venv module of $python is missing" \
      "Debian, Ubuntu: apt-get install python3-venv (or python3.${python_tag#cp3}-venv); or another Python with PYTHON=..."
  mkdir -p "$venv"
  : >"$half_done"
  "$python" -m venv "$venv" >"$state/venv.log" 2>&1 ||
    { tail -n 5 "$state/venv.log" >&2; fail "python -m venv failed" "read the lines above; another Python with PYTHON=..."; }
  rm -f "$half_done"
  finish
fi
rm -f "$stamp"

begin 'installing the build tools'
# setuptools before 81: mmcv's setup.py imports pkg_resources, which later ones lack.
pip_install build-tools 'build tools' --upgrade pip 'setuptools<81' wheel ninja psutil hatchling editables
finish

begin "installing torch $TORCH_VERSION and torchvision $TORCHVISION_VERSION (with CUDA libraries about 5 GB)"
# shellcheck disable=SC2086  # several words on purpose
pip_install torch "torch $TORCH_VERSION" "torch==$TORCH_VERSION" "torchvision==$TORCHVISION_VERSION" $TORCH_PIP_ARGUMENTS
finish

begin "installing mmengine $MMENGINE_VERSION, mmdet $MMDET_VERSION and the tools for tests and documentation"
printf 'torch==%s\ntorchvision==%s\nsetuptools<81\n' "$TORCH_VERSION" "$TORCHVISION_VERSION" >"$state/constraints.txt"
if [[ -n $NUMPY_VERSION ]]; then printf 'numpy==%s\n' "$NUMPY_VERSION" >>"$state/constraints.txt"; fi
packages=("mmengine==$MMENGINE_VERSION" "mmdet==$MMDET_VERSION"
  addict packaging pillow pyyaml yapf numpy 'matplotlib' pycocotools scipy shapely six terminaltables tqdm
  pytest pytest-timeout pytest-xdist hypothesis ruff onnx onnxruntime
  sphinx myst-parser furo)
# opencv is left alone where it works: it may be the headless one, see below.
if ! "$venv_python" -c 'import cv2' >/dev/null 2>&1; then packages+=(opencv-python); fi
pip_install packages 'mmengine, mmdet and the tools' --constraint "$state/constraints.txt" "${packages[@]}"
if ! "$venv_python" -c 'import cv2' >/dev/null 2>"$state/cv2.log"; then
  if grep -qE 'cannot open shared object|libGL' "$state/cv2.log"; then
    say "    opencv-python needs a library this machine lacks ($(last_error "$state/cv2.log"));"
    say '    installing opencv-python-headless instead'
    "$venv_python" -m pip uninstall --quiet --yes opencv-python >"$state/opencv.log" 2>&1
    pip_install opencv 'opencv-python-headless' --force-reinstall --no-deps opencv-python-headless
  fi
  "$venv_python" -c 'import cv2' >/dev/null 2>"$state/cv2.log" ||
    fail "opencv cannot be imported: $(last_error "$state/cv2.log")" "install the library named above"
fi
finish

# --- mmcv ------------------------------------------------------------------
read -r torch_full torch_cuda < <("$venv_python" -W ignore -c \
  'import torch; print(torch.__version__, torch.version.cuda or "")' 2>"$state/torch_facts.log") ||
  fail "torch does not import: $(last_error "$state/torch_facts.log")" "remove .venv (rm -rf $venv) and run this again"
choose_flavour "$torch_cuda"
export FLAVOUR=$flavour
# pip's own cache of built wheels knows only the source, not the torch it was built
# with; hence a cache of ours whose key says everything that matters.
key="mmcv-${MMCV_VERSION}_torch-${torch_full}_${python_tag}_${flavour}-$(uname -m)"
wheels=$cache/$key

install_mmcv() {
  pip_install mmcv "mmcv $MMCV_VERSION" --no-deps --force-reinstall --no-cache-dir "$1"
}

cached_wheel() { compgen -G "$wheels/mmcv-*.whl" | head -n 1 || true; }

# A compiler for mmcv's ops that parses torch's headers once instead of 77 times, and writes
# no debugging symbols (Python asks for them; a third of the time, 96 % of the bytes). GCC
# alone reads what it compiled before (.gch), and only with the very same options; whatever
# goes wrong with it, the file is compiled as without it.
make_fast_compiler() {  # make_fast_compiler SOURCE: prints the command to give as CXX
  local real folder=$state/fast-compiler
  real=$(command -v "${CXX:-c++}") && "$real" --version 2>/dev/null | grep -q 'Free Software Foundation' || return 1
  rm -rf "$folder"
  mkdir -p "$folder"
  cat >"$folder/g++" <<WRAPPER
#!/usr/bin/env bash
real='$real' header='$1/mmcv/ops/csrc/common/pytorch_cpp_helper.hpp' folder='$folder'
WRAPPER
  cat >>"$folder/g++" <<'WRAPPER'
options=() source=''
arguments=("$@")
while (($#)); do
  case $1 in
    -MMD | -c) ;;
    -MF | -o) shift ;;
    *mmcv/ops/csrc/*.cpp) source=$1 ;;
    *) options+=("$1") ;;
  esac
  shift
done
if [[ -z $source ]]; then exec "$real" "${arguments[@]}"; fi
options+=(-g0) arguments+=(-g0)
exec 9>"$folder/lock"
flock 9
if [[ ! -e $folder/tried ]]; then
  : >"$folder/tried"
  cp "$header" "$folder/"
  "$real" "${options[@]}" -x c++-header "$header" -o "$folder/pytorch_cpp_helper.hpp.part" 2>"$folder/log" &&
    mv "$folder/pytorch_cpp_helper.hpp.part" "$folder/pytorch_cpp_helper.hpp.gch"
fi
flock -u 9
if [[ -e $folder/pytorch_cpp_helper.hpp.gch ]]; then
  "$real" -include "$folder/pytorch_cpp_helper.hpp" "${arguments[@]}" 2>/dev/null && exit 0
fi
exec "$real" "${arguments[@]}"
WRAPPER
  chmod +x "$folder/g++"
  echo "$folder/g++"
}

build_mmcv() {
  local source=$state/mmcv-$MMCV_VERSION-$torch_full-$python_tag-$flavour kept download=$state/tmp/mmcv
  check_compiler "$venv_python"
  if [[ ! -f $source/setup.py ]]; then
    begin "fetching the source of mmcv $MMCV_VERSION"
    rm -rf "$source" "$download"
    mkdir -p "$download"
    run_logged "$state/mmcv-download.log" env PATH="$venv/bin:$PATH" MMCV_WITH_OPS=1 \
      "$venv_python" -m pip download --quiet --no-deps --no-binary mmcv --no-build-isolation \
      --dest "$download" "mmcv==$MMCV_VERSION" ||
      explain_pip_failure "the source of mmcv $MMCV_VERSION" "$state/mmcv-download.log"
    tar -xzf "$download"/mmcv-*.tar.gz -C "$download" &&
      mv "$download/mmcv-$MMCV_VERSION" "$source" ||  # complete or absent
      fail "the source of mmcv $MMCV_VERSION cannot be unpacked" "run this again, to fetch it anew"
    finish
  fi
  export MAX_JOBS=${MAX_JOBS:-$(jobs_for_memory)}
  kept=$({ find "$source/build" -name '*.o' 2>/dev/null || true; } | wc -l)
  kept_note=''
  if ((kept > 0)); then kept_note=", $kept kept from an earlier run"; fi
  begin "compiling mmcv's ops, $flavour_note, $MAX_JOBS at a time (3 to 10 minutes on two cores)"
  local environment=(PATH="$venv/bin:$PATH" MMCV_WITH_OPS=1)
  if [[ $flavour == cpu ]]; then
    # mmcv compiles for CUDA whenever torch sees a GPU, so hide it.
    environment+=(FORCE_CUDA=0 CUDA_VISIBLE_DEVICES='')
  else
    environment+=(FORCE_CUDA=1)
  fi
  local fast
  # flock: the first of several compilations makes the header, the others wait.
  if command -v flock >/dev/null 2>&1 && fast=$(make_fast_compiler "$source"); then
    environment+=(CXX="$fast")
  fi
  rm -rf "$state/dist"
  if ! run_logged "$state/mmcv-build.log" env "${environment[@]}" \
    "$venv_python" -m pip wheel --verbose --no-deps --no-build-isolation --no-cache-dir \
    --wheel-dir "$state/dist" "$source"; then
    grep -nE '(error:|Error:|Killed|fatal)' "$state/mmcv-build.log" | tail -n 10 | sed 's/^/    /' >&2 || true
    if grep -qE 'Killed|cc1plus.*terminated|out of memory' "$state/mmcv-build.log"; then
      fail 'compiling mmcv: the machine ran out of memory' 'MAX_JOBS=1 bash tools/setup.sh (compiled files are kept)'
    fi
    fail "compiling mmcv $MMCV_VERSION against torch $torch_full failed" \
      "read the lines above; the whole log is .setup/mmcv-build.log (torch 2.14 and later do not work)"
  fi
  mkdir -p "$wheels"
  local wheel name
  wheel=$(compgen -G "$state/dist/mmcv-*.whl" | head -n 1)
  name=$(basename "$wheel")
  cp "$wheel" "$wheels/.$name.$$"
  mv "$wheels/.$name.$$" "$wheels/$name"  # atomic: a reader sees a whole wheel or none
  finish
}

if check_mmcv && [[ -f $venv/.fpn_necks_mmcv && $(cat "$venv/.fpn_necks_mmcv") == "$key" ]]; then
  say "==> mmcv $MMCV_VERSION is in place"
else
  installed=no
  wheel=$(cached_wheel)
  if [[ -n $wheel ]]; then
    begin "installing mmcv $MMCV_VERSION from the wheel compiled earlier ($flavour_note)"
    install_log=$state/mmcv.log
    : >"$half_done"
    if "$venv_python" -m pip install --quiet --no-deps --force-reinstall --no-cache-dir "$wheel" >"$install_log" 2>&1 </dev/null && check_mmcv; then
      installed=yes
      finish
    else
      say "    that wheel does not work ($(last_error "$state/check_mmcv.log")); compiling it anew"
      rm -rf "$wheels"
    fi
    rm -f "$half_done"
  fi
  if [[ $installed == no ]]; then
    build_mmcv
    begin "installing mmcv $MMCV_VERSION"
    install_mmcv "$(cached_wheel)"
    check_mmcv || {
      tail -n 5 "$state/check_mmcv.log" >&2
      fail "the mmcv just compiled does not work" "rm -rf $state $venv, then run this again; report .setup/mmcv-build.log if it fails again"
    }
    finish
  fi
  printf '%s' "$key" >"$venv/.fpn_necks_mmcv"
fi
rm -rf "$state"/mmcv-"$MMCV_VERSION"-* "$state/dist" "$state/fast-compiler"

begin 'installing fpn_necks, editable'
pip_install fpn-necks 'fpn_necks' --no-deps --no-build-isolation --editable "$clone"
finish

begin 'checking everything by import'
versions=$(check_all) || {
  tail -n 5 "$state/check.log" >&2
  fail "the finished environment does not work: $(last_error "$state/check.log")" \
    "rm -rf $venv, then run this again"
}
finish
rm -rf "$state/tmp"
printf '%s' "$pins" >"$stamp"
say "$versions"
say "set up in $SECONDS s; use it with: source .venv/bin/activate"
