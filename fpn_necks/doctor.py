"""Diagnoses an installation by using each library, and suggests fixes.

The steps run in a process of their own, which runs this file by its path: neither a
library that kills the process nor fpn_necks gets in the way. After each step it writes
a line of JSON; a step that was begun and has no result is the one it died in.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Facts = Mapping[str, Mapping[str, Any]]
"""Step -> what it returned, its ``error``, or the step it was ``skipped`` for."""

SET_UP = "in a clone of fpn_necks `bash tools/setup.sh` makes a working environment"
SAME_BUILD = (
    "install torch and torchvision anew, in one pip command and from one index, as "
    "versions that belong together (2.11.0 and 0.26.0, say)"
)
KNOWN_ERRORS = {
    r"libGL|cv2.*cannot open shared object": "pip uninstall opencv-python, then pip "
    "install opencv-python-headless, which needs no graphics library",
    r"MM(CV|Engine)==": "mmdet and mmcv do not belong together: compile mmcv "
    "2.1.0 against the installed torch, and pip install 'mmengine>=0.10.5,<1'",
    r"numpy\.dtype size changed|compiled using NumPy|Numpy is not available"
    r"|_ARRAY_API not found|numpy\.core\.multiarray failed": "a library was compiled "
    "for another numpy: pip install 'numpy<2', or install that library anew",
}
# mmcv 2.1.0 is C++17; torch's headers are C++20 from this version on.
FIRST_TORCH_TOO_NEW_FOR_MMCV = (2, 14)


class Result(NamedTuple):
    """One line of the diagnosis: ``ok``, ``warning`` or ``fault``."""

    level: str
    title: str
    detail: str
    remedy: str = ""


def run_doctor(as_json: bool = False) -> int:
    """Examine this installation and print the results.

    Args:
        as_json: print JSON, with mmengine's description of the environment.

    Returns:
        The exit status: 1 if there is a fault, 0 otherwise.
    """
    from .version import __version__

    facts = gather_facts()
    results = diagnose(facts)
    if as_json:
        entries = [result._asdict() for result in results]
        report = {"fpn_necks": __version__, "results": entries, "facts": facts}
        print(json.dumps(report, indent=2))
    else:
        print(f"fpn_necks {__version__} doctor\n\n{format_results(results)}")
    return int(any(result.level == "fault" for result in results))


def format_results(results: list[Result]) -> str:
    """Return the results as a table, remedies below their lines."""
    width = max((len(result.title) for result in results), default=0)
    lines = []
    for level, title, detail, remedy in results:
        if len(detail) > 400:
            detail = f"{detail[:400]} ... (--json has the rest)"
        lines.append(f"  {level:<8} {title:<{width}}  {detail}".rstrip())
        lines += [f"  {'':<8} {'':<{width}}  fix: {remedy}"] if remedy else []
    levels = [result.level for result in results]
    counts = ((levels.count(level), level) for level in ("fault", "warning"))
    summary = ", ".join(f"{n or 'no'} {level}{'s' * (n != 1)}" for n, level in counts)
    return "\n".join([*lines, "", summary])


def diagnose(facts: Facts) -> list[Result]:
    """Say what the facts mean; causes come before their consequences."""
    results: list[Result] = []
    errors: dict[str, str] = {}
    for step in (name for name in STEPS if name in facts):
        error = facts[step].get("error")
        if "skipped" in facts[step]:
            continue
        if error is None:
            results += _success(step, facts[step], facts)
        elif error in errors:
            cause = errors[error]
            results += [Result("fault", step, f"same error as {cause}", f"fix {cause}")]
        elif step != "environment":
            errors[error] = step
            results.append(_fault(step, error, facts))
    if "died" in facts:
        step, how, output = (facts["died"][k] for k in ("step", "how", "output"))
        detail = f"using it ended the process: {how}; it last wrote: {output}"
        remedy = f"install it anew, for the installed torch and numpy. Or: {SET_UP}"
        results.append(Result("fault", step, detail, remedy))
    return results


def _fault(step: str, error: str, facts: Facts) -> Result:
    from .compatibility import WANTED, release, remedy_for

    fix = STEPS[step].remedy
    if step in WANTED or fix in WANTED:
        fix = remedy_for(fix or step)
    detail = error
    if step == "torch":
        fix = f"{fix}; {SET_UP}"
    elif step == "mmcv ops":
        torch = facts.get("torch", {}).get("version") or ""
        foreign = re.search("undefined symbol|cannot open shared object", error)
        reason = (
            f"compiled against another torch than {torch}" if foreign else "missing"
        )
        detail = f"{reason} (mmcv-lite, or a build without torch?): {error}"
        fix = f"{fix}; pip uninstall mmcv-lite if it is there"
        if release(torch) >= FIRST_TORCH_TOO_NEW_FOR_MMCV:
            fix = (
                f"mmcv 2.1.0 does not compile against torch {torch}: install torch "
                f"below 2.14 with its torchvision, then {fix}"
            )
    elif refused := re.search(r"Unsupported global: GLOBAL (\S+)", error):
        detail = f"torch does not allow {refused[1]} in a checkpoint"
    if step != "torch with numpy":
        known = (text for e, text in KNOWN_ERRORS.items() if re.search(e, error))
        fix = next(known, fix)
    return Result("fault", step, detail, fix or SET_UP)


def _success(step: str, fact: Mapping[str, Any], facts: Facts) -> list[Result]:
    """Judge what a step returned."""
    from .compatibility import WANTED, check_versions, release, remedy_for, wanted_range

    version, cuda = fact.get("version"), facts.get("torch and CUDA", {})
    level, detail, fix = "ok", version or "works", ""
    if fact.get("kept", 1) != 1:
        return [_fault(step, "its nms gives a wrong result", facts)]
    if step == "Python":
        detail = f"{version} at {fact['executable']}"
        if not (3, 10) <= release(version) < (3, 13):
            level = "fault" if release(version) < (3, 10) else "warning"
            fix = "use Python 3.10, 3.11 or 3.12"
    elif step.startswith("copies of "):
        first, *others = fact["folders"] or [""]
        if not others:
            return []
        level = "fault" if step.endswith("mmdet") else "warning"
        detail = f"{first} hides {', '.join(others)}"
        fix = (
            f"remove all but one (pip uninstall, PYTHONPATH); the first one is {first}"
        )
        if Path(first).parent == Path(fact["working_directory"]):
            fix = f"rename {first} or run from another directory"
    elif step == "setuptools":
        # Needed for compiling mmcv only.
        if fact["pkg_resources"] or "cuda" in facts.get("mmcv ops", {}):
            return []
        level = "warning"
        detail = "pkg_resources is missing, and mmcv's setup.py needs it"
        fix = "pip install 'setuptools<81', and compile mmcv with --no-build-isolation"
    elif step == "GPU":
        detail = ", ".join(fact["names"]) or "without a working nvidia-smi"
        if not fact["present"]:
            detail = "none; everything runs on the CPU"
        elif cuda.get("available") is False:
            level, detail = "warning", f"{detail}, which torch cannot use"
            fix = "install a torch that is built for CUDA; then compile mmcv anew"
            if built := cuda.get("built_for"):
                fix = (
                    f"update the NVIDIA driver to one for CUDA {built}, or install a "
                    "torch for an older CUDA; check CUDA_VISIBLE_DEVICES and --gpus"
                )
    elif step == "torchvision nms":
        versions = (facts.get(x, {}).get("version") for x in ("torch", "torchvision"))
        tags = [(text or "").partition("+")[2] for text in versions]
        if not all(tags) or tags[0] == tags[1]:
            return []
        detail = f"are of different builds: {tags[0]} and {tags[1]}"
        return [Result("warning", "torch and torchvision", detail, SAME_BUILD)]
    elif step == "mmcv ops":
        has_cuda = fact["cuda"] not in (None, "not available")
        detail = f"compiled, CUDA {fact['cuda']}" if has_cuda else "compiled, CPU"
        if not has_cuda and cuda.get("available"):
            level = "warning"
            detail += " only: detectors that need one fail on the GPU"
            fix = f"compile mmcv with nvcc present and FORCE_CUDA=1; {SET_UP}"
    elif step == "fpn_necks" and not fact["registered"]:
        level = "fault"
        detail = f"{fact['file']} does not register SAlphaFPN in mmdet's MODELS"
        fix = "install fpn_necks anew; look for a second copy of it or of mmdet"
    elif step == "checkpoints":
        detail = "can be saved and loaded"
    elif "version" not in fact:
        return []
    elif version is None and step != "pycocotools":
        level, detail = "fault", f"{fact['file']} is not the library: no __version__"
        fix = "rename that folder or run from another directory"
    elif step in WANTED and check_versions({step: version}):
        level, detail = "fault", f"{version}, wanted {wanted_range(step)}"
        fix = remedy_for(step)
    return [Result(level, step, detail, fix)]


def gather_facts(timeout: float = 300) -> dict[str, dict[str, Any]]:
    """Run the steps in a process of their own.

    Args:
        timeout: seconds after which it is ended; a cold disk needs a minute for torch.

    Returns:
        The facts. Under ``died``, if the process did not reach its end: the ``step`` it
        was in, ``how`` it ended, and the last lines it wrote as ``output``.
    """
    # By -c, so that sys.path begins with the working directory as for `python -m`.
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    with tempfile.TemporaryDirectory() as folder:
        report, log = Path(folder, "report"), Path(folder, "output")
        command = [sys.executable, "-c", code, __file__, str(report)]
        with log.open("w") as output:
            streams = dict(stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            try:
                status = subprocess.run(command, timeout=timeout, **streams).returncode
                how = f"exit status {status}"
                if status < 0:
                    how = f"signal {-status} ({signal.strsignal(-status)})"
            except subprocess.TimeoutExpired:
                status, how = 1, f"did not finish within {timeout:g} s"
        text = log.read_text(errors="replace").splitlines()
        lines = report.read_text(encoding="utf-8") if report.exists() else ""
    facts: dict[str, dict[str, Any]] = {}
    begun = None
    for entry in map(json.loads, lines.splitlines()):
        begun = entry.get("begin")
        if begun is None:
            facts[entry.pop("step")] = entry
    if status != 0 or begun or not lines:
        last = " | ".join([line for line in text if line.strip()][-3:])
        facts["died"] = {"step": begun or "the doctor", "how": how, "output": last}
    return facts


# ------------------------------------------- steps, run in a process of their own


def _copies(package: str) -> dict[str, Any]:
    folders = [os.path.join(entry or os.getcwd(), package) for entry in sys.path]
    # Two entries of sys.path may be one folder.
    real = [os.path.realpath(x) for x in folders if os.path.isfile(f"{x}/__init__.py")]
    here = os.path.realpath(os.getcwd())
    return {"working_directory": here, "folders": list(dict.fromkeys(real))}


def _gpu() -> dict[str, Any]:
    names: list[str] = []
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "-L"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
        names = answer.stdout.splitlines() if answer.returncode == 0 else []
    return {"present": bool(names) or os.path.exists("/dev/nvidia0"), "names": names}


def _library(name: str) -> dict[str, Any]:
    module = importlib.import_module(name)
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    file = next((place for place in places if place), None)
    return {"version": getattr(module, "__version__", None), "file": file}


def _torch_cuda() -> dict[str, Any]:
    import torch

    return {"built_for": torch.version.cuda, "available": torch.cuda.is_available()}


def _torch_numpy() -> dict[str, Any]:
    import numpy
    import torch

    if float(torch.from_numpy(numpy.ones(2)).sum()) != 2:
        raise RuntimeError("torch.from_numpy changed the numbers")
    torch.ones(2).numpy()
    return {}


def _nms(library: str) -> dict[str, Any]:
    import torch

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]])
    kept = importlib.import_module(library).nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
    return {"kept": len(kept[1] if library == "mmcv.ops" else kept)}


def _mmcv_ops() -> dict[str, Any]:
    importlib.import_module("mmcv._ext")
    from mmcv.ops import get_compiling_cuda_version

    return {"cuda": get_compiling_cuda_version()}


def _config_printing() -> dict[str, Any]:
    from mmengine.config import Config

    return {"text": Config({"answer": 42}).pretty_text}


def _fpn_necks() -> dict[str, Any]:
    facts = _library("fpn_necks")
    from mmdet.registry import MODELS

    return facts | {"registered": MODELS.get("SAlphaFPN") is not None}


def _checkpoint() -> dict[str, Any]:
    import torch
    from mmengine.logging import HistoryBuffer

    file = io.BytesIO()
    torch.save({"loss": HistoryBuffer([0.5, 0.25], [1, 1])}, file)
    file.seek(0)
    return {"mean": float(torch.load(file)["loss"].mean())}


def _environment() -> dict[str, Any]:
    from mmengine.utils.dl_utils import collect_env

    return {name: str(value) for name, value in collect_env().items()}


class Step(NamedTuple):
    """What to use, the steps without which that only fails again, and the remedy.

    A library's name as remedy: the one for its version.
    """

    run: Callable[..., dict[str, Any]]
    argument: str = ""
    needs: tuple[str, ...] = ()
    remedy: str = ""


STEPS = {
    "Python": Step(
        lambda: dict(version=platform.python_version(), executable=sys.executable)
    ),
    "copies of mmdet": Step(_copies, "mmdet"),
    "copies of fpn_necks": Step(_copies, "fpn_necks"),
    "setuptools": Step(
        lambda: dict(pkg_resources=bool(importlib.util.find_spec("pkg_resources")))
    ),
    "GPU": Step(_gpu),
    "numpy": Step(_library, "numpy", remedy="pip install numpy"),
    "torch": Step(_library, "torch"),
    "torch and CUDA": Step(_torch_cuda, needs=("torch",)),
    "torch with numpy": Step(
        _torch_numpy,
        needs=("torch", "numpy"),
        remedy="pip install 'numpy<2' for a torch before 2.3, or a newer torch",
    ),
    "torchvision": Step(_library, "torchvision", ("torch",), SAME_BUILD),
    "torchvision nms": Step(_nms, "torchvision.ops", ("torchvision",), SAME_BUILD),
    "cv2": Step(_library, "cv2", remedy="pip install opencv-python"),
    "pycocotools": Step(
        _library,
        "pycocotools.mask",
        remedy="pip install --force-reinstall --no-cache-dir pycocotools",
    ),
    "mmengine": Step(_library, "mmengine"),
    "printing of configs": Step(
        _config_printing,
        needs=("mmengine",),
        remedy="pip install --upgrade 'mmengine>=0.10.5,<1' 'yapf<0.40.2'",
    ),
    "mmcv": Step(_library, "mmcv", ("mmengine", "cv2")),
    "mmcv ops": Step(_mmcv_ops, needs=("mmcv", "torch"), remedy="mmcv"),
    "mmcv nms": Step(_nms, "mmcv.ops", ("mmcv ops",), "mmcv"),
    "mmdet": Step(_library, "mmdet", ("mmcv",)),
    "fpn_necks": Step(
        _fpn_necks,
        needs=("mmdet",),
        remedy="fix the faults above first; without any, install fpn_necks anew",
    ),
    "checkpoints": Step(
        _checkpoint,
        needs=("fpn_necks",),
        remedy="import fpn_necks before loading (custom_imports in the config)",
    ),
    "environment": Step(_environment, needs=("mmengine", "cv2", "torch")),
}


def _run_steps(report_path: str) -> None:
    failed: set[str] = set()
    with open(report_path, "w", encoding="utf-8") as report:
        for name, (step, argument, needs, _) in STEPS.items():
            print(json.dumps({"begin": name}), file=report, flush=True)
            missing = next((need for need in needs if need in failed), None)
            try:
                arguments = [argument] if argument else []
                facts = {"skipped": missing} if missing else step(*arguments)
            # Whatever a library raises, SystemExit included, is a fact about it.
            except BaseException as error:
                facts = {"error": _describe(error)}
            if "error" in facts or missing:
                failed.add(name)
            print(json.dumps({"step": name, **facts}), file=report, flush=True)


def _describe(error: BaseException) -> str:
    # With what it was raised from: mmengine reports any failure to print a config as a
    # SyntaxError of the config.
    message = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    text = f"{type(error).__name__}: {message}"
    earlier = error.__cause__ or error.__context__
    return text if earlier is None else f"{text} (from {_describe(earlier)})"


if __name__ == "__main__":
    _run_steps(sys.argv[-1])
