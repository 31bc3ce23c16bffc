"""Diagnoses an installation by using each library, and suggests fixes.

The steps of ``doctor_steps.py`` run in a process of their own: neither a library that
kills the process nor fpn_necks gets in the way.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import doctor_steps
from .compatibility import REMEDIES, WANTED, release, version_fault, wanted_range
from .doctor_steps import STEPS
from .version import __version__

SET_UP = "in a clone of fpn_necks `bash tools/setup.sh` makes a working environment"
Facts = Mapping[str, Mapping[str, Any]]
"""Step -> what it returned, its ``error``, or the step it was ``skipped`` for."""

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
    for step in (name for name in STEPS if name in facts):
        error = facts[step].get("error")
        if "skipped" in facts[step]:
            continue
        if error is None:
            results += _success(step, facts[step], facts)
        elif step != "environment":
            results.append(_fault(step, error, facts))
    if "died" in facts:
        step, how, output = (facts["died"][k] for k in ("step", "how", "output"))
        detail = f"using it ended the process: {how}; it last wrote: {output}"
        remedy = f"install it anew, for the installed torch and numpy. Or: {SET_UP}"
        results.append(Result("fault", step, detail, remedy))
    return results


def _fault(step: str, error: str, facts: Facts) -> Result:
    fix = STEPS[step].remedy
    fix = REMEDIES.get(fix or step, fix)
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
    """Say what the facts of a step mean."""
    version = fact.get("version")
    level, detail, fix = "ok", version or "works", ""
    if fact.get("kept", 1) != 1:
        return [_fault(step, "its nms gives a wrong result", facts)]
    if step == "Python":
        detail = f"{version} at {fact['executable']}"
        if not (3, 10) <= release(version) < (3, 13):
            level = "fault" if release(version) < (3, 10) else "warning"
            fix = "use Python 3.10, 3.11 or 3.12"
    elif step == "GPU":
        detail = ", ".join(fact["names"]) or "none; everything runs on the CPU"
        if fact["driver"] and not fact["names"]:
            level, detail = "warning", "torch cannot use it"
            fix = (
                "update the NVIDIA driver, or install a torch for its CUDA and compile "
                "mmcv anew; check CUDA_VISIBLE_DEVICES"
            )
    elif step == "mmcv ops":
        has_cuda = fact["cuda"] not in (None, "not available")
        detail = f"compiled, CUDA {fact['cuda']}" if has_cuda else "compiled, CPU"
        if not has_cuda and facts.get("GPU", {}).get("names"):
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
    elif step in WANTED and version_fault(step, version):
        level, detail = "fault", f"{version}, wanted {wanted_range(step)}"
        fix = REMEDIES[step]
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
        command = [sys.executable, "-c", code, doctor_steps.__file__, str(report)]
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
