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
TITLES = {
    "torch_numpy": "torch with numpy",
    "torchvision_nms": "torchvision nms",
    "config_printing": "printing of configs",
    "mmcv_ops": "mmcv ops",
    "mmcv_nms": "mmcv nms",
    "checkpoint": "checkpoints",
}
REMEDIES = {
    "numpy": "pip install numpy",
    "torch_numpy": "pip install 'numpy<2' for a torch before 2.3, or a newer torch",
    "torchvision": SAME_BUILD,
    "torchvision_nms": SAME_BUILD,
    "cv2": "pip install opencv-python",
    "pycocotools": "pip install --force-reinstall --no-cache-dir pycocotools",
    "config_printing": "pip install --upgrade 'mmengine>=0.10.5,<1' 'yapf<0.40.2'",
    "fpn_necks": "fix the faults above first; without any, install fpn_necks anew",
    "checkpoint": "import fpn_necks before loading (custom_imports in the config)",
}
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
        if remedy:
            lines.append(f"  {'':<8} {'':<{width}}  fix: {remedy}")
    levels = [result.level for result in results]
    counts = ((levels.count(level), level) for level in ("fault", "warning"))
    summary = ", ".join(f"{n or 'no'} {level}{'s' * (n != 1)}" for n, level in counts)
    return "\n".join([*lines, "", summary])


def remedy_for_error(error: str) -> str | None:
    """Return what to do about an error that is known, or None."""
    return next((fix for e, fix in KNOWN_ERRORS.items() if re.search(e, error)), None)


def diagnose(facts: Facts) -> list[Result]:
    """Say what the facts mean; causes come before their consequences."""
    results: list[Result] = []
    errors: dict[str, str] = {}
    for step in (name for name in STEPS if "skipped" not in facts.get(name, {})):
        error = facts.get(step, {}).get("error")
        if error in errors:
            cause = errors[error]
            results += [Result("fault", step, f"same error as {cause}", f"fix {cause}")]
        elif error is not None and step != "environment":
            errors[error] = step
            results.append(_fault(step, error, facts))
        elif step in facts:
            results += _success(step, facts[step], facts)
    if "died" in facts:
        step, how, output = (facts["died"][k] for k in ("step", "how", "output"))
        detail = f"using it ended the process: {how}; it last wrote: {output}"
        remedy = f"install it anew, for the installed torch and numpy. Or: {SET_UP}"
        results.append(Result("fault", step, detail, remedy))
    return results


def _fault(step: str, error: str, facts: Facts) -> Result:
    from .compatibility import release, remedy_for

    fixes = {name: remedy_for(name) for name in ("mmengine", "mmcv", "mmdet")}
    fixes |= {"torch": f"{remedy_for('torch')}; {SET_UP}", "mmcv_nms": fixes["mmcv"]}
    fixes["mmcv_ops"] = f"{fixes['mmcv']}; pip uninstall mmcv-lite if it is there"
    fixes |= REMEDIES
    torch = facts.get("torch", {}).get("version") or ""
    detail = error
    if step == "mmcv_ops":
        foreign = re.search("undefined symbol|cannot open shared object", error)
        reason = (
            f"compiled against another torch than {torch}" if foreign else "missing"
        )
        detail = f"{reason} (mmcv-lite, or a build without torch?): {error}"
        if release(torch) >= FIRST_TORCH_TOO_NEW_FOR_MMCV:
            fixes[step] = (
                f"mmcv 2.1.0 does not compile against torch {torch}: install torch "
                f"below 2.14 with its torchvision, then {fixes[step]}"
            )
    refused = re.search(r"Unsupported global: GLOBAL (\S+)", error)
    if refused:
        detail = f"torch does not allow {refused[1]} in a checkpoint"
    known = None if step == "torch_numpy" else remedy_for_error(error)
    fix = known or fixes.get(step, SET_UP)
    return Result("fault", TITLES.get(step, step), detail, fix)


def _success(step: str, fact: Mapping[str, Any], facts: Facts) -> list[Result]:
    from .compatibility import WANTED, check_versions, release, remedy_for, wanted_range

    version, cuda = fact.get("version"), facts.get("torch_cuda", {})
    if step == "python":
        detail, fix = (
            f"{version} at {fact['executable']}",
            "use Python 3.10, 3.11 or 3.12",
        )
        if (3, 10) <= release(version) < (3, 13):
            return [Result("ok", "Python", detail)]
        level = "fault" if release(version) < (3, 10) else "warning"
        return [Result(level, "Python", detail, fix)]
    if step == "copies":
        return [_copy(name, fact) for name in _COPIED if len(fact.get(name, [])) > 1]
    if step == "build_tools":
        if fact["pkg_resources"] or "cuda" in facts.get("mmcv_ops", {}):
            return []  # needed for compiling mmcv only
        fix = "pip install 'setuptools<81', and compile mmcv with --no-build-isolation"
        detail = "pkg_resources is missing, and mmcv's setup.py needs it"
        return [Result("warning", "setuptools", detail, fix)]
    if step == "gpu":
        names = ", ".join(fact.get("names", [])) or "without a working nvidia-smi"
        if not fact.get("present"):
            return [Result("ok", "GPU", "none; everything runs on the CPU")]
        if cuda.get("available") is not False:
            return [Result("ok", "GPU", names)]
        built = cuda.get("built_for")
        fix = "install a torch that is built for CUDA; then compile mmcv anew"
        if built is not None:
            fix = f"update the NVIDIA driver to one for CUDA {built}, or install a "
            fix += "torch for an older CUDA; check CUDA_VISIBLE_DEVICES and --gpus"
        return [Result("warning", "GPU", f"{names}, which torch cannot use", fix)]
    if fact.get("kept", 1) != 1:
        return [_fault(step, "its nms gives a wrong result", facts)]
    if step == "torchvision_nms":
        versions = [facts.get(x, {}).get("version") or "" for x in step.split("_")[:1]]
        versions = [facts.get("torch", {}).get("version") or "", *versions]
        tags = [text.partition("+")[2] for text in versions]
        if all(tags) and tags[0] != tags[1]:
            detail = f"are of different builds: {tags[0]} and {tags[1]}"
            return [Result("warning", "torch and torchvision", detail, SAME_BUILD)]
    if step == "mmcv_ops":
        has_cuda = fact.get("cuda") not in (None, "not available")
        if not has_cuda and cuda.get("available"):
            detail = "are compiled for the CPU only: detectors that need one fail on "
            detail += "the GPU"
            fix = f"compile mmcv with nvcc present and FORCE_CUDA=1; {SET_UP}"
            return [Result("warning", "mmcv ops", detail, fix)]
        built = f"CUDA {fact['cuda']}" if has_cuda else "CPU"
        return [Result("ok", "mmcv ops", f"compiled, {built}")]
    if step == "fpn_necks" and not fact.get("registered"):
        detail = f"{fact.get('file')} does not register SAlphaFPN in mmdet's MODELS"
        fix = "install fpn_necks anew; look for a second copy of it or of mmdet"
        return [Result("fault", step, detail, fix)]
    if step == "checkpoint":
        return [Result("ok", "checkpoints", "can be saved and loaded")]
    if "version" not in fact:
        return []
    if version is None and step != "pycocotools":
        detail = f"{fact.get('file')} is not the library: no __version__"
        fix = "rename that folder or run from another directory"
        return [Result("fault", step, detail, fix)]
    if step in WANTED and check_versions({step: version}):
        detail = f"{version}, wanted {wanted_range(step)}"
        return [Result("fault", step, detail, remedy_for(step))]
    return [Result("ok", step, version or "works")]


_COPIED = {"mmdet": "fault", "fpn_necks": "warning"}


def _copy(package: str, fact: Mapping[str, Any]) -> Result:
    first, *others = fact[package]
    fix = f"remove all but one (pip uninstall, PYTHONPATH); the first one is {first}"
    if Path(first).parent == Path(fact["working_directory"]):
        fix = f"rename {first} or run from another directory"
    detail = f"{first} hides {', '.join(others)}"
    return Result(_COPIED[package], f"copies of {package}", detail, fix)


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
                known = -status in list(signal.Signals)
                name = f" ({signal.Signals(-status).name})" if known else ""
                how = (
                    f"exit status {status}"
                    if status >= 0
                    else f"signal {-status}{name}"
                )
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


def _copies() -> dict[str, Any]:
    found: dict[str, Any] = {"working_directory": os.path.realpath(os.getcwd())}
    for package in _COPIED:
        folders = [os.path.join(entry or os.getcwd(), package) for entry in sys.path]
        # Two entries of sys.path may be one folder.
        real = [
            os.path.realpath(x) for x in folders if os.path.isfile(f"{x}/__init__.py")
        ]
        found[package] = list(dict.fromkeys(real))
    return found


def _gpu() -> dict[str, Any]:
    names: list[str] = []
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "-L"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
        names = answer.stdout.splitlines() if answer.returncode == 0 else []
    return {"present": bool(names) or os.path.exists("/dev/nvidia0"), "names": names}


def _library(name: str) -> Callable[[], dict[str, Any]]:
    def step() -> dict[str, Any]:
        module = importlib.import_module(name)
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
        file = next((place for place in places if place), None)
        return {"version": getattr(module, "__version__", None), "file": file}

    return step


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


def _nms(library: str) -> Callable[[], dict[str, Any]]:
    def step() -> dict[str, Any]:
        import torch

        boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0]])
        nms = importlib.import_module(library).nms
        kept = nms(boxes, torch.tensor([0.9, 0.8]), 0.5)
        return {"kept": len(kept[1] if library == "mmcv.ops" else kept)}

    return step


def _mmcv_ops() -> dict[str, Any]:
    importlib.import_module("mmcv._ext")
    from mmcv.ops import get_compiling_cuda_version

    return {"cuda": get_compiling_cuda_version()}


def _config_printing() -> dict[str, Any]:
    from mmengine.config import Config

    return {"text": Config({"answer": 42}).pretty_text}


def _fpn_necks() -> dict[str, Any]:
    facts = _library("fpn_necks")()
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


# What to do, and the steps without whose success it would only fail again.
STEPS: dict[str, tuple[Callable[[], dict[str, Any]], tuple[str, ...]]] = {
    "python": (
        lambda: dict(version=platform.python_version(), executable=sys.executable),
        (),
    ),
    "copies": (_copies, ()),
    "build_tools": (
        lambda: dict(pkg_resources=bool(importlib.util.find_spec("pkg_resources"))),
        (),
    ),
    "gpu": (_gpu, ()),
    "numpy": (_library("numpy"), ()),
    "torch": (_library("torch"), ()),
    "torch_cuda": (_torch_cuda, ("torch",)),
    "torch_numpy": (_torch_numpy, ("torch", "numpy")),
    "torchvision": (_library("torchvision"), ("torch",)),
    "torchvision_nms": (_nms("torchvision.ops"), ("torchvision",)),
    "cv2": (_library("cv2"), ()),
    "pycocotools": (_library("pycocotools.mask"), ()),
    "mmengine": (_library("mmengine"), ()),
    "config_printing": (_config_printing, ("mmengine",)),
    "mmcv": (_library("mmcv"), ("mmengine", "cv2")),
    "mmcv_ops": (_mmcv_ops, ("mmcv", "torch")),
    "mmcv_nms": (_nms("mmcv.ops"), ("mmcv_ops",)),
    "mmdet": (_library("mmdet"), ("mmcv",)),
    "fpn_necks": (_fpn_necks, ("mmdet",)),
    "checkpoint": (_checkpoint, ("fpn_necks",)),
    "environment": (_environment, ("mmengine", "cv2", "torch")),
}


def _run_steps(report_path: str) -> None:
    failed: set[str] = set()
    with open(report_path, "w", encoding="utf-8") as report:
        for name, (step, needs) in STEPS.items():
            print(json.dumps({"begin": name}), file=report, flush=True)
            missing = next((need for need in needs if need in failed), None)
            try:
                facts = {"skipped": missing} if missing else step()
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
