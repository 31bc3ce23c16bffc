"""tools/setup.sh and its like, with a stand-in for Python: nothing is installed.

The stand-in plays `python`, `venv` and `pip`. What a real installation does was tried
by hand on empty machines and is tried by .ci/run.
"""

import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[2]
PARALLEL = f"-n {min(len(os.sched_getaffinity(0)), 4)} --dist worksteal"
SCRIPTS = ["tools/setup.sh", "tools/test.sh", ".ci/run"]
pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="the scripts need bash"
)

# Answers what the script asks; $FAKE_* say how. Programs on standard input are the
# checks by import: they succeed once mmcv was "installed".
FAKE_PYTHON = r"""#!/bin/bash
here=$(dirname "$(dirname "${BASH_SOURCE[0]}")")
echo "$*" >>"$FAKE_LOG"
value_of() {
  local option=$1
  while [[ $2 != "$option" ]]; do shift; done
  echo "$3"
}
case "$*" in
  *"sys.version_info[1] if"*) echo "${FAKE_MINOR:-11}" ;;
  *'"cp%d%d"'*) echo "cp3${FAKE_MINOR:-11}" ;;
  *'"%d.%d"'*) echo "3.${FAKE_MINOR:-11}" ;;
  *platform.python_version*) echo "3.${FAKE_MINOR:-11}.0 at fake" ;;
  *get_paths*) echo "$FAKE_HEADERS" ;;
  *"import venv, ensurepip"*) exit "${FAKE_NO_VENV:-0}" ;;
  *torch.version.cuda*) echo "2.11.0+cpu ${FAKE_CUDA:-}" ;;
  *"import cv2"*)
    if [[ -n ${FAKE_NO_LIBGL:-} && ! -f $here/headless ]]; then
      echo "ImportError: libGL.so.1: cannot open shared object file" >&2; exit 1
    fi ;;
  *"pip install"*opencv-python-headless) touch "$here/headless" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "${BASH_SOURCE[0]}" "$3/bin/python" ;;
  *"pip install"*"torch=="*)
    if [[ -n ${FAKE_SLOW_PIP:-} ]]; then
      echo $$ >"$here/../pip_process.part"
      mv "$here/../pip_process.part" "$here/../pip_process"
      sleep 60
    fi
    if [[ -n ${FAKE_PIP_ERROR:-} ]]; then echo "$FAKE_PIP_ERROR" >&2; exit 1; fi ;;
  *"pip install"*mmcv-*.whl*)
    grep -q works "${!#}" && touch "$here/mmcv_works" || rm -f "$here/mmcv_works" ;;
  *"pip download"*)
    folder=$(value_of --dest "$@")
    mkdir -p "$folder/mmcv-2.1.0" && touch "$folder/mmcv-2.1.0/setup.py"
    tar -C "$folder" -czf "$folder/mmcv-2.1.0.tar.gz" mmcv-2.1.0
    rm -r "$folder/mmcv-2.1.0" ;;
  *"pip wheel"*)
    echo "FORCE_CUDA is $FORCE_CUDA" >>"$FAKE_LOG"
    folder=$(value_of --wheel-dir "$@")
    if [[ -n ${FAKE_BUILD:-} ]]; then
      (cd "${!#}" && bash "$FAKE_BUILD" >>"$FAKE_LOG" 2>&1)
    fi
    mkdir -p "$folder" && echo "works" >"$folder/mmcv-2.1.0-fake.whl" ;;
  *"import torch"*) exit 1 ;;
  *"-W ignore -"*)
    if [[ ! -f $here/mmcv_works ]]; then
      echo "ImportError: undefined symbol" >&2; exit 1
    fi
    echo "the versions" ;;
esac
"""


class Clone:
    """A clone of its own with the scripts, a stand-in for Python, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a clone"  # with a space, as users have them
        self.log = folder / "log"
        self.cache = folder / "cache"
        for script in SCRIPTS:
            target = self.folder / script
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CLONE / script, target)
        headers = folder / "include"
        headers.mkdir()
        (headers / "Python.h").touch()
        self.python = folder / "bin" / "python"
        self.python.parent.mkdir()
        self.python.write_text(FAKE_PYTHON)
        self.python.chmod(0o755)
        self.compiler = folder / "bin" / "compiler"
        self.compiler.write_text("#!/bin/bash\nexit 0\n")
        self.compiler.chmod(0o755)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHON": str(self.python),
            "CXX": str(self.compiler),
            "XDG_CACHE_HOME": str(self.cache),
            "NEEDED_GB": "0",
            "NEEDED_GB_WITH_TORCH": "0",
            "FAKE_LOG": str(self.log),
            "FAKE_HEADERS": str(headers),
        }

    def set_up(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            ["bash", str(self.folder / "tools" / "setup.sh"), *words],
            cwd=self.folder.parent,
            env=self.environment | changed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def calls(self) -> str:
        return self.log.read_text()

    @property
    def wheels(self) -> list[Path]:
        return sorted(self.cache.rglob("*.whl"))


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_first_run_second_run_second_clone(clone: Clone, tmp_path: Path) -> None:
    first = clone.set_up()
    assert first.returncode == 0, first.stderr
    assert "compiling mmcv's ops, CPU ops" in first.stdout
    assert "the versions" in first.stdout
    assert "pip wheel" in clone.calls
    (wheel,) = clone.wheels
    # The key says what pip's own cache of wheels forgets: the torch it belongs to.
    assert wheel.parent.name.startswith("mmcv-2.1.0_torch-2.11.0+cpu_cp311_cpu-")
    assert not list((clone.folder / ".setup").glob("mmcv-2.1.0*/"))

    second = clone.set_up()
    assert second.stdout == "already set up\nthe versions\n"
    assert "pip" not in clone.calls
    assert clone.set_up("--quiet").stdout == "the versions\n"

    (tmp_path / "other").mkdir()
    other = Clone(tmp_path / "other")
    result = other.set_up(XDG_CACHE_HOME=str(clone.cache), CXX="no-such-compiler")
    assert result.returncode == 0, result.stderr
    assert "from the wheel compiled earlier" in result.stdout
    assert "pip wheel" not in other.calls


def test_a_cached_wheel_that_does_not_work_is_replaced(clone: Clone) -> None:
    assert clone.set_up().returncode == 0
    (wheel,) = clone.wheels
    wheel.write_text("broken")
    shutil.rmtree(clone.folder / ".venv")
    result = clone.set_up()
    assert result.returncode == 0, result.stderr
    assert "that wheel does not work (ImportError: undefined symbol)" in result.stdout
    assert "pip wheel" in clone.calls
    assert [path.read_text() for path in clone.wheels] == ["works\n"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            "touch .venv/.fpn_necks_installing",
            "interrupted while it installed packages",
        ),
        ("rm -r .venv/bin", ".venv is incomplete"),
        ("rm .venv/mmcv_works", "no longer works (ImportError: undefined symbol)"),
    ],
)
def test_a_damaged_environment_is_mended(damage: str, said: str, clone: Clone) -> None:
    assert clone.set_up().returncode == 0
    left_over = clone.folder / ".venv" / "left over"
    left_over.touch()
    subprocess.run(damage, shell=True, check=True, cwd=clone.folder)
    result = clone.set_up()
    assert result.returncode == 0, result.stderr
    assert said in result.stdout
    assert left_over.exists() == ("mmcv_works" in damage)


def test_other_pins_are_installed(clone: Clone) -> None:
    assert clone.set_up().returncode == 0
    assert clone.set_up(MMENGINE_VERSION="0.10.5").returncode == 0
    assert "mmengine==0.10.5" in clone.calls


def pip(error: str) -> dict[str, str]:
    return {"FAKE_PIP_ERROR": error}


@pytest.mark.parametrize(
    ("changed", "missing", "remedy"),
    [
        ({"PYTHON": "no-such-python"}, "PYTHON=no-such-python does not run", "3.10"),
        ({"FAKE_MINOR": "9"}, "is Python 3.9, which is not supported", "3.12"),
        ({"FAKE_MINOR": "13"}, "is Python 3.13, which is not supported", "3.12"),
        ({"NEEDED_GB": "99999999"}, "not enough disk space", "free some space"),
        ({"CXX": "no-such-compiler"}, "no C++ compiler", "apt-get install g++"),
        ({"CXX": "false"}, "cannot compile C++17", "g++ 9"),
        ({"FAKE_HEADERS": "/none"}, "headers are missing (/none/", "python3.11-dev"),
        ({"FAKE_NO_VENV": "1"}, "the venv module of", "python3-venv"),
        (pip("Temporary failure in name resolution"), "cannot be reached", "network"),
        (pip("No matching distribution found"), "offers no such version", "PYTHON="),
        (pip("OSError: No space left on device"), "the disk is full", "free some"),
        (pip("something else"), "torch 2.11.0: pip failed", ".setup/torch.log"),
    ],
)
def test_what_is_missing_is_named(
    changed: dict[str, str], missing: str, remedy: str, clone: Clone
) -> None:
    result = clone.set_up(**changed)
    assert result.returncode == 1
    said, _, remedies = result.stderr.partition("set-up failed: ")[2].partition("\n")
    assert missing in said
    assert "remedy: " in remedies and remedy in remedies


def test_the_run_after_a_failure_goes_through(clone: Clone) -> None:
    assert clone.set_up(**pip("OSError: No space left on device")).returncode == 1
    result = clone.set_up()
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(shutil.which("flock") is None, reason="needs flock")
def test_two_at_once(clone: Clone) -> None:
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(clone.set_up) for _ in range(2)]
        results = sorted((run.result() for run in runs), key=lambda run: run.stdout)
    assert [result.returncode for result in results] == [0, 0]
    assert results[1].stdout == (
        "another set-up is running in this clone; waiting for it\n"
        "already set up\nthe versions\n"
    )
    assert "compiling mmcv's ops" in results[0].stdout


def test_an_interruption_is_said_and_survived(clone: Clone) -> None:
    # SIGTERM while "pip" is at work: it must end too, and the next run start afresh.
    process = subprocess.Popen(
        ["bash", str(clone.folder / "tools" / "setup.sh")],
        env=clone.environment | {"FAKE_SLOW_PIP": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (clone.folder / "pip_process").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    _, text = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "set-up interrupted; run it again" in text
    pip = int((clone.folder / "pip_process").read_text())
    while Path(f"/proc/{pip}").exists():
        assert time.monotonic() < deadline, "pip goes on after the interruption"
        time.sleep(0.05)
    result = clone.set_up()
    assert result.returncode == 0, result.stderr
    assert "interrupted while it installed packages" in result.stdout


def test_opencv_without_graphics_library(clone: Clone) -> None:
    result = clone.set_up(FAKE_NO_LIBGL="1")
    assert result.returncode == 0, result.stderr
    assert "installing opencv-python-headless instead" in result.stdout
    assert "pip uninstall --quiet --yes opencv-python\n" in clone.calls


@pytest.mark.parametrize(
    ("gpu", "nvcc", "torch", "flavour", "note"),
    [
        ("9.0", "13.0", "13.0", "cuda-13.0-sm90-", "compute capability 9.0"),
        ("8.6\n9.0\n9.0", "13.0", "13.0", "cuda-13.0-sm86-90-", "8.6;9.0"),
        ("", "13.0", "13.0", "cpu-", "no GPU here"),
        ("9.0", "12.8", "13.0", "cpu-", "nvcc is of CUDA 12.8, but this torch"),
        ("9.0", "13.0", "", "cpu-", "but this torch is of CUDA none"),
    ],
)
def test_cuda_or_cpu_ops(
    gpu: str, nvcc: str, torch: str, flavour: str, note: str, clone: Clone
) -> None:
    folder = clone.python.parent
    answers = {
        "nvidia-smi": f"[[ -n '{gpu}' ]] || exit 9\n[[ $1 == -L ]] || echo '{gpu}'\n",
        "nvcc": f"echo 'Cuda compilation tools, release {nvcc}, V{nvcc}.1'\n",
    }
    for name, text in answers.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    result = clone.set_up(PATH=path, FAKE_CUDA=torch)
    assert result.returncode == 0, result.stderr
    assert note in result.stdout
    (wheel,) = clone.wheels
    assert f"_cp311_{flavour}" in wheel.parent.name
    forced = "1" if flavour.startswith("cuda") else "0"
    assert f"FORCE_CUDA is {forced}" in clone.calls


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs GCC")
@pytest.mark.parametrize(
    "header", ["#pragma once\ninline int value() { return 7; }", "no C++"]
)
def test_headers_are_compiled_once(header: str, clone: Clone, tmp_path: Path) -> None:
    """And whatever goes wrong with that, the files are compiled as without it."""
    build = tmp_path / "build.sh"
    build.write_text(f"""
mkdir -p mmcv/ops/csrc/common mmcv/ops/csrc/pytorch
printf '%s\\n' '{header}' >mmcv/ops/csrc/common/pytorch_cpp_helper.hpp
for name in a b; do
  file=mmcv/ops/csrc/pytorch/$name
  echo "int $name() {{ return 1; }}" >$file.cpp
  "$CXX" -MMD -MF $file.d -O1 -Immcv/ops/csrc/common -c $file.cpp -o $file.o -DX=1
  echo "$name: $? $(ls $file.o $file.d | wc -l)"
done
"$CXX" -shared mmcv/ops/csrc/pytorch/*.o -o ops.so && echo linked
echo "headers: $(find "$(dirname "$CXX")" -name '*.gch' | wc -l)"
""")
    result = clone.set_up(CXX="g++", FAKE_BUILD=str(build))
    assert result.returncode == 0, result.stderr
    found = clone.calls.splitlines()
    compiled = int(header.startswith("#pragma"))
    assert {"a: 0 2", "b: 0 2", "linked", f"headers: {compiled}"} <= set(found)
    assert not list((clone.folder / ".setup").glob("fast-compiler"))


def test_python_is_searched_for(clone: Clone, tmp_path: Path) -> None:
    # The first one fails to run, as a shim without a version does.
    for name, text in {
        "python3": "#!/bin/bash\nexit 127\n",
        "python3.12": "#!/bin/bash\nexit 127\n",
        "python3.11": FAKE_PYTHON,
    }.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    result = clone.set_up(PATH=path, PYTHON="")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Python: 3.11.0 at fake")


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_sound(script: str) -> None:
    text = (CLONE / script).read_text()
    assert "set -euo pipefail" in text
    subprocess.run(["bash", "-n", str(CLONE / script)], check=True)
    # No host of a package registry, no folder of one machine.
    for stranger in ("http://", "https://", "pypi", "/root/", "/home/", "/work/"):
        assert stranger not in text


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["tools/setup.sh", "--help"], 0, "usage: bash tools/setup.sh"),
        (["tools/test.sh", "--help"], 0, "usage: bash tools/test.sh"),
        (["tools/setup.sh", "--fast"], 2, "unknown option '--fast'"),
    ],
)
def test_help_and_unknown_options(words: list[str], status: int, said: str) -> None:
    command = ["bash", *words]
    result = subprocess.run(command, cwd=CLONE, capture_output=True, text=True)
    assert result.returncode == status
    assert said in result.stdout + result.stderr


def test_arguments_of_the_test_script(clone: Clone, tmp_path: Path) -> None:
    assert clone.set_up().returncode == 0
    for words, expected in (
        ("", f"-m pytest -m not long {PARALLEL}"),
        ("--full", f"-m pytest {PARALLEL}"),
        ("-k asff -x", "-m pytest -m not long -k asff -x"),
        ("--full tests/necks", "-m pytest tests/necks"),
        ("-m long", "-m pytest -m long"),
    ):
        result = subprocess.run(
            ["bash", str(clone.folder / "tools" / "test.sh"), *words.split()],
            cwd=tmp_path,
            env=clone.environment,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stderr
        assert clone.calls.splitlines()[-1] == expected
        lines = result.stdout.splitlines()
        assert lines[0] == "the versions" and lines[-1].startswith("tests took ")
