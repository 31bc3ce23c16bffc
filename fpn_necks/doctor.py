"""What is wrong with an installation, and what to do about it.

The facts come from ``doctor_probe.py``, run as a process of its own; ``diagnose`` is a
pure function of them. Nothing here imports torch or a library of OpenMMLab, so that the
doctor can be asked when those are broken.
"""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from .compatibility import WANTED, check_versions, release, remedy_for, wanted_range
from .version import __version__

Facts = Mapping[str, Mapping[str, Any]]

_SET_UP = "in a clone of fpn_necks `bash tools/setup.sh` makes a working environment"
_SAME_BUILD = (
    "install torch and torchvision anew, in one pip command and from one index, as "
    "versions that belong together (2.11.0 and 0.26.0, say)"
)
# mmcv 2.1.0 is C++17; torch's headers are C++20 from this version on.
_FIRST_TORCH_TOO_NEW_FOR_MMCV = (2, 14)
_LONGEST_DETAIL = 400  # characters in the table
_PROBE_SECONDS = 300  # a cold disk needs most of a minute for torch


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the diagnosis.

    Args:
        level: ``fault`` keeps fpn_necks from working, ``warning`` may do so later.
        title: What it is about: a library or a property of the installation.
        detail: What was found: a version, an error.
        remedy: What to do; empty if all is well.
    """

    level: Literal["ok", "warning", "fault"]
    title: str
    detail: str
    remedy: str = ""


def run_doctor(as_json: bool = False) -> int:
    """Examine this installation and print the findings.

    Args:
        as_json: Print JSON instead of the table.

    Returns:
        The exit status: 1 if there is a fault, 0 otherwise.
    """
    facts = gather_facts()
    findings = diagnose(facts)
    if as_json:
        report = {
            "fpn_necks": __version__,
            "findings": [dataclasses.asdict(finding) for finding in findings],
            "facts": facts,
        }
        print(json.dumps(report, indent=2))
    else:
        print(format_findings(findings))
    return int(any(finding.level == "fault" for finding in findings))


def gather_facts(timeout: float = _PROBE_SECONDS) -> dict[str, dict[str, Any]]:
    """Run the probe in a process of its own.

    Args:
        timeout: Seconds after which the probe is ended.

    Returns:
        Step -> its facts. Under ``died``, if the process did not reach its end: the
        ``step`` it was in, ``how`` it ended, and the last lines it wrote.
    """
    probe = Path(__file__).with_name("doctor_probe.py")
    # By -c, so that sys.path begins with the working directory as it does for
    # `python -m`; a script's own folder would hide libraries behind our sub-packages.
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        command = [sys.executable, "-c", code, str(probe), str(report)]
        with Path(folder, "output").open("w+b") as output:
            try:
                status = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=timeout,
                ).returncode
                how = _how_it_ended(status)
            except subprocess.TimeoutExpired:
                status, how = 1, f"did not finish within {timeout:g} s"
            output.seek(0)
            text = output.read().decode(errors="replace")
        lines = report.read_text(encoding="utf-8") if report.exists() else ""
    facts, unfinished = _read_report(lines)
    if status != 0 or unfinished is not None or not lines:
        last_lines = [line for line in text.splitlines() if line.strip()][-3:]
        facts["died"] = {
            "step": unfinished or "the probe itself",
            "how": how,
            "output": " | ".join(last_lines),
        }
    return facts


def diagnose(facts: Facts) -> list[Finding]:
    """Judge the facts.

    Args:
        facts: Step -> facts, as ``gather_facts`` returns them. A step that is absent
            was not reached and is not judged.

    Returns:
        The findings in the order of the steps; causes come before their consequences.
    """
    findings: list[Finding] = []
    for step, judge in _JUDGES.items():
        if step in facts and "skipped" not in facts[step]:
            findings += judge(facts)
    died = facts.get("died")
    if died is not None:
        said = f"; it last wrote: {died['output']}" if died.get("output") else ""
        findings.append(
            Finding(
                "fault",
                died["step"],
                f"using it ended the process: {died['how']}{said}",
                "install it anew, compiled for the installed torch and numpy; "
                f"what comes after it was not examined. Or: {_SET_UP}",
            )
        )
    return findings


def format_findings(findings: list[Finding]) -> str:
    """Return the findings as a table, remedies below their lines."""
    width = max((len(finding.title) for finding in findings), default=0)
    lines = [f"fpn_necks {__version__} doctor", ""]
    for finding in findings:
        detail = finding.detail
        if len(detail) > _LONGEST_DETAIL:
            detail = f"{detail[:_LONGEST_DETAIL]} ... (--json has the rest)"
        lines.append(
            f"  {finding.level:<8} {finding.title:<{width}}  {detail}".rstrip()
        )
        if finding.remedy:
            lines.append(f"  {'':<8} {'':<{width}}  remedy: {finding.remedy}")
    faults = sum(finding.level == "fault" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    lines += ["", f"{_count(faults, 'fault')}, {_count(warnings, 'warning')}"]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _how_it_ended(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"


def _read_report(lines: str) -> tuple[dict[str, dict[str, Any]], str | None]:
    # The step that was begun and not finished is the one the process died in.
    facts: dict[str, dict[str, Any]] = {}
    unfinished = None
    for line in lines.splitlines():
        entry = json.loads(line)
        if "begin" in entry:
            unfinished = entry["begin"]
        else:
            facts[entry.pop("step")] = entry
            unfinished = None
    return facts, unfinished


# --- one judge per step -------------------------------------------------------------


def _judge_python(facts: Facts) -> list[Finding]:
    version = facts["python"]["version"]
    detail = f"{version} at {facts['python']['executable']}"
    if release(version) < (3, 10):
        return [Finding("fault", "Python", detail, "use Python 3.10, 3.11 or 3.12")]
    if release(version) >= (3, 13):
        return [
            Finding(
                "warning",
                "Python",
                f"{detail}: newer than what mmcv and mmdet are tested with",
                "use Python 3.10, 3.11 or 3.12",
            )
        ]
    return [Finding("ok", "Python", detail)]


def _judge_copies(facts: Facts) -> list[Finding]:
    copies = facts["copies"]
    findings = []
    for package, level in (("mmdet", "fault"), ("fpn_necks", "warning")):
        folders = copies.get(package, [])
        if len(folders) < 2:
            continue
        others = ", ".join(folders[1:])
        here = Path(folders[0]).parent == Path(copies["working_directory"])
        remedy = (
            f"the first one is in the working directory: rename {folders[0]} or run "
            "from another directory"
            if here
            else f"remove all but one (pip uninstall, PYTHONPATH); the first one is "
            f"{folders[0]}"
        )
        findings.append(
            Finding(
                level,  # type: ignore[arg-type]
                f"copies of {package}",
                f"{folders[0]} hides {others}: what is registered in or edited in one "
                "copy is unknown to the other",
                remedy,
            )
        )
    return findings


def _judge_build_tools(facts: Facts) -> list[Finding]:
    ops = facts.get("mmcv_ops", {})
    if facts["build_tools"]["pkg_resources"] or ("cuda" in ops):
        return []  # needed for compiling mmcv only
    return [
        Finding(
            "warning",
            "setuptools",
            "pkg_resources is missing, and mmcv's setup.py needs it to be compiled",
            "pip install 'setuptools<81' before compiling mmcv, and compile it with "
            "--no-build-isolation",
        )
    ]


def _judge_gpu(facts: Facts) -> list[Finding]:
    gpu, cuda = facts["gpu"], facts.get("torch_cuda", {})
    if not gpu.get("present"):
        return [Finding("ok", "GPU", "none; everything runs on the CPU")]
    name = ", ".join(gpu.get("names", [])) or "a device without a working nvidia-smi"
    if cuda.get("available") is False:
        if cuda.get("built_for") is None:
            remedy = "install a torch that is built for CUDA; then compile mmcv anew"
        else:
            remedy = (
                f"this torch is built for CUDA {cuda['built_for']}: update the NVIDIA "
                "driver to one for it or install a torch for an older CUDA; check "
                "CUDA_VISIBLE_DEVICES, and --gpus for a container"
            )
        return [Finding("warning", "GPU", f"{name}, which torch cannot use", remedy)]
    return [Finding("ok", "GPU", name)]


def _judge_library(step: str, remedy: str) -> Callable[[Facts], list[Finding]]:
    def judge(facts: Facts) -> list[Finding]:
        error = facts[step].get("error")
        if error is not None:
            earlier = _earlier_step_with(error, step, facts)
            if earlier is not None:
                return [
                    Finding(
                        "fault",
                        step,
                        f"same error as {earlier}",
                        f"mend {earlier} first",
                    )
                ]
            return [Finding("fault", step, error, _remedy_for_error(error) or remedy)]
        version = facts[step].get("version")
        if version is None and step != "pycocotools":
            return [
                Finding(
                    "fault",
                    step,
                    f"{facts[step].get('file')} is not the library: no __version__",
                    "rename that folder or run from another directory",
                )
            ]
        if step in WANTED and check_versions({step: version}):
            return [
                Finding(
                    "fault",
                    step,
                    f"{version}, wanted {wanted_range(step)}",
                    remedy_for(step),
                )
            ]
        return [Finding("ok", step, version or "works")]

    return judge


def _earlier_step_with(error: str, step: str, facts: Facts) -> str | None:
    for earlier in _JUDGES:
        if earlier == step:
            return None
        if facts.get(earlier, {}).get("error") == error:
            return earlier
    return None


def _remedy_for_error(error: str) -> str | None:
    if "libGL" in error or re.search(r"cv2.*cannot open shared object", error):
        return (
            "pip uninstall opencv-python, then pip install opencv-python-headless, "
            "which needs no graphics library; or install that library"
        )
    if "MMCV==" in error:
        return f"mmdet and mmcv do not belong together: {remedy_for('mmcv')}"
    if "MMEngine==" in error:
        return f"mmdet and mmengine do not belong together: {remedy_for('mmengine')}"
    if _is_numpy_trap(error):
        return (
            "a library was compiled for another numpy: pip install 'numpy<2', or "
            "install that library anew"
        )
    return None


def _is_numpy_trap(error: str) -> bool:
    return bool(
        re.search(
            r"numpy\.dtype size changed|compiled using NumPy|Numpy is not available"
            r"|_ARRAY_API not found|numpy\.core\.multiarray failed",
            error,
            re.IGNORECASE,
        )
    )


def _judge_torch_numpy(facts: Facts) -> list[Finding]:
    error = facts["torch_numpy"].get("error")
    if error is None:
        return []
    return [
        Finding(
            "fault",
            "torch with numpy",
            f"torch cannot exchange arrays with numpy "
            f"{facts.get('numpy', {}).get('version')}: {error}",
            "pip install 'numpy<2' for a torch before 2.3, or install a newer torch",
        )
    ]


def _judge_torchvision_nms(facts: Facts) -> list[Finding]:
    error = facts["torchvision_nms"].get("error")
    if error is None and facts["torchvision_nms"].get("kept", 1) != 1:
        error = "its nms gives a wrong result"
    if error is not None:
        return [Finding("fault", "torchvision nms", error, _SAME_BUILD)]
    tags = [
        (facts.get(library, {}).get("version") or "").partition("+")[2]
        for library in ("torch", "torchvision")
    ]
    if all(tags) and tags[0] != tags[1]:
        return [
            Finding(
                "warning",
                "torch and torchvision",
                f"are of different builds: {tags[0]} and {tags[1]}",
                _SAME_BUILD,
            )
        ]
    return []


def _judge_config_printing(facts: Facts) -> list[Finding]:
    error = facts["config_printing"].get("error")
    if error is None:
        return []
    remedy = f"pip install --upgrade --force-reinstall 'mmengine>=0.10.5,<1'; {_SET_UP}"
    if "FormatCode" in error and "verify" in error:
        remedy = (
            "yapf 0.40.2 and later dropped an argument that this mmengine passes: "
            "pip install --upgrade 'mmengine>=0.10.5,<1', or pip install 'yapf<0.40.2'"
        )
    return [Finding("fault", "printing of configs", error, remedy)]


def _judge_mmcv_ops(facts: Facts) -> list[Finding]:
    error = facts["mmcv_ops"].get("error")
    torch_version = facts.get("torch", {}).get("version") or ""
    if error is not None:
        remedy = remedy_for("mmcv")
        if "undefined symbol" in error or "cannot open shared object" in error:
            detail = f"were compiled against another torch than {torch_version}: "
        else:
            detail = "are not compiled (mmcv-lite, or a build without torch): "
            remedy += "; pip uninstall mmcv-lite if it is there"
        if release(torch_version) >= _FIRST_TORCH_TOO_NEW_FOR_MMCV:
            remedy = (
                f"mmcv 2.1.0 does not compile against torch {torch_version}: install "
                f"torch below 2.14 with its torchvision, then {remedy}"
            )
        return [Finding("fault", "mmcv ops", detail + error, remedy)]
    cuda = facts["mmcv_ops"].get("cuda")
    has_cuda = cuda not in (None, "not available")
    if facts.get("torch_cuda", {}).get("available") and not has_cuda:
        return [
            Finding(
                "warning",
                "mmcv ops",
                "are compiled for the CPU only, while torch can use a GPU: detectors "
                "fail on the GPU where they need an op of mmcv",
                "compile mmcv with nvcc present and FORCE_CUDA=1; " + _SET_UP,
            )
        ]
    return [
        Finding("ok", "mmcv ops", f"compiled, {'CUDA ' + cuda if has_cuda else 'CPU'}")
    ]


def _judge_mmcv_nms(facts: Facts) -> list[Finding]:
    error = facts["mmcv_nms"].get("error")
    if error is None and facts["mmcv_nms"].get("kept", 1) != 1:
        error = "gives a wrong result"
    if error is None:
        return []
    return [
        Finding("fault", "mmcv nms", f"does not run: {error}", f"{remedy_for('mmcv')}")
    ]


def _judge_fpn_necks(facts: Facts) -> list[Finding]:
    step = facts["fpn_necks"]
    error = step.get("error")
    if error is not None:
        return [
            Finding(
                "fault",
                "fpn_necks",
                f"cannot be imported: {error}",
                "mend the faults above first; without any, install fpn_necks anew",
            )
        ]
    if not step.get("registered"):
        return [
            Finding(
                "fault",
                "fpn_necks",
                f"{step.get('file')} does not register SAlphaFPN in mmdet's MODELS",
                "install fpn_necks anew; look for a second copy of it or of mmdet",
            )
        ]
    return [
        Finding("ok", "fpn_necks", f"{step['version']}, registered in mmdet's MODELS")
    ]


def _judge_checkpoint(facts: Facts) -> list[Finding]:
    error = facts["checkpoint"].get("error")
    if error is None:
        return [Finding("ok", "checkpoints", "can be saved and loaded")]
    # torch's message is a page of text with the one thing that matters in its middle.
    refused = re.search(r"Unsupported global: GLOBAL (\S+)", error)
    return [
        Finding(
            "fault",
            "checkpoints",
            "a checkpoint with mmengine's log history cannot be loaded: "
            + (f"torch does not allow {refused[1]} in it" if refused else error),
            "import fpn_necks before loading (custom_imports in the config); if it is, "
            "install fpn_necks anew",
        )
    ]


_JUDGES: dict[str, Callable[[Facts], list[Finding]]] = {
    "python": _judge_python,
    "copies": _judge_copies,
    "build_tools": _judge_build_tools,
    "gpu": _judge_gpu,
    "numpy": _judge_library("numpy", "pip install numpy"),
    "torch": _judge_library("torch", f"{remedy_for('torch')}; {_SET_UP}"),
    "torch_numpy": _judge_torch_numpy,
    "torchvision": _judge_library("torchvision", _SAME_BUILD),
    "torchvision_nms": _judge_torchvision_nms,
    "cv2": _judge_library("cv2", "pip install opencv-python"),
    "pycocotools": _judge_library(
        "pycocotools", "pip install --force-reinstall --no-cache-dir pycocotools"
    ),
    "mmengine": _judge_library("mmengine", remedy_for("mmengine")),
    "config_printing": _judge_config_printing,
    "mmcv": _judge_library("mmcv", remedy_for("mmcv")),
    "mmcv_ops": _judge_mmcv_ops,
    "mmcv_nms": _judge_mmcv_nms,
    "mmdet": _judge_library("mmdet", remedy_for("mmdet")),
    "fpn_necks": _judge_fpn_necks,
    "checkpoint": _judge_checkpoint,
}
