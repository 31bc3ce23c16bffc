"""The command lines of the pages: bash takes them apart, their parsers read them.

A script runs up to where it has read its command line and stops there, so that a page
is held to the options, values and numbers of arguments that the script really takes.
What is cheap and changes nothing runs to its end.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import runpy
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from unittest import mock

import mmdet
from mmdet.utils import register_all_modules
from mmengine.config import Config

from fpn_necks.cli import build_parser, main
from fpn_necks.config_tools import build_without_weights, find_config, value_at
from tests.docs.code_blocks import READERS_FILES, ROOT

FOLDERS = ("configs/", "tools/", "docs/", "tests/", "fpn_necks/")
DATA_SETS = "coco|coco100|tinyperson|tinycitypersons|cityscapes"
CONFIG_NAME = re.compile(rf"(?!my_)[a-z0-9-]+_[\w.-]+_({DATA_SETS})(\.py)?")
# Their options are not looked at; a test's files are, as all are.
PLAIN = {"bash", "cp", "mim", "pytest", "ruff"}
# They print what is there and end: they are run, a training with --dry-run.
CHEAP = ("configs", "check", "reproduce list", "reproduce show", "reproduce run")
# Nothing is found on this path, so that each command is written down instead. What
# stands in $(...) is a pipe and may only print: it runs, with a stand-in for mmdet.
SHELL = r"""
PATH=/nowhere
source() { :; }
command_not_found_handle() {
    printf '%s\x1f' "$@" >>commands
    printf '\x1e' >>commands
    [ -p /dev/stdout ] || return 0
    case $1 in
        python) "$PYTHON" -S "${@:2}" ;;
        fpn-necks) "$PYTHON" -m fpn_necks "${@:2}" ;;
        *) return 127 ;;
    esac
}
"""


def commands_of(source: str, folder: Path) -> list[list[str]]:
    """Return the words of the commands that a shell would start in a new folder.

    A fault that bash finds, such as a variable that is set nowhere, is an error.
    """
    (folder / "mmdet").mkdir(parents=True)
    (folder / "mmdet" / ".mim").symlink_to(Path(mmdet.__file__).parent / ".mim")
    (folder / "commands").touch()
    result = subprocess.run(
        ["bash", "-euc", SHELL + source.replace(".venv/bin/", "")],
        cwd=folder,
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    records = (folder / "commands").read_text().split("\x1e")[:-1]
    return [record.split("\x1f")[:-1] for record in records]


def check_command(words: Sequence[str], files: Collection[str] = ()) -> None:
    """Raise what is wrong with a command; ``files`` are the reader's own on the page.

    ``SystemExit`` is of its parser, which has said why.
    """
    program, *rest = words
    own = frozenset({*files, *READERS_FILES})
    for word in rest:
        if word not in files:
            _check_word(word)
    if program == "fpn-necks":
        _check_ours(tuple(rest), own)
    elif program == "python" and rest[0] == "-c":
        ast.parse(rest[1])
    elif program == "python" and rest[0] != "-m":
        options = _read_arguments(rest)
        if getattr(options, "cfg_options", None) and not _is_own(options.config, own):
            _check_overrides(_shipped(options.config), options.cfg_options)
    elif program == "pip":
        project = (ROOT / "pyproject.toml").read_text()
        assert rest[0] == "install", f"pip has no command {rest[0]!r} that is known"
        for extra in re.findall(r"\[(\w+)\]", " ".join(rest)):
            assert f"\n{extra} = [" in project, f"the package has no extra {extra!r}"
    else:
        known = program in PLAIN or rest[:2] == ["-m", "pytest"]
        assert known, f"{program!r} is no program that is known here"


def _check_word(word: str) -> None:
    """Look for files of the repository and shipped configs."""
    value = word.split("=", 1)[-1]
    path = re.sub(r"(::|\[|@|:).*", "", value)
    if path.startswith(FOLDERS):
        assert (ROOT / path).exists(), f"there is no {path}"
    name = value.split("@")[0]
    if value.startswith("mmdet::") or CONFIG_NAME.fullmatch(name):
        find_config(name)


def _is_own(path: str, own: Collection[str]) -> bool:
    return path in own or Path(path).name.startswith("my_")


def _shipped(path: str) -> Config:
    """Read a config of the repository, also by its name or as a training writes it."""
    name = Path(path).name
    is_name = CONFIG_NAME.fullmatch(name) and not (ROOT / path).is_file()
    return Config.fromfile(find_config(name if is_name else path))


@functools.cache
def _check_ours(words: tuple[str, ...], own: Collection[str]) -> None:
    """Read the command line of ``fpn-necks``; run what is cheap, from the root."""
    options = build_parser(words).parse_args(words)
    config = getattr(options, "config", None) or ""
    if words[:2] == ("reproduce", "run"):
        words = (*words, "--dry-run")
    if " ".join(words).startswith(CHEAP) and not _is_own(config, own):
        # `check` ends with 1 where it finds what the page shows.
        assert main(words) <= (words[0] == "check"), f"{words} ends with an error"


class _Parsed(BaseException):
    """Carries what a parser has read out of the script."""


def _read_arguments(words: Sequence[str]) -> Namespace:
    """Run a script until it has read its command line."""
    parse = ArgumentParser.parse_args

    def parse_and_stop(*given: object) -> None:
        raise _Parsed(parse(*given))

    path = [str((ROOT / words[0]).parent), *sys.path]  # as Python starts a script
    with (
        mock.patch.object(ArgumentParser, "parse_args", parse_and_stop),
        mock.patch.multiple(sys, argv=list(words), path=path),
    ):
        try:
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        except _Parsed as parsed:
            return parsed.args[0]
    raise AssertionError(f"{words[0]} reads no command line")


def _check_overrides(config: Config, changes: Mapping[str, object]) -> None:
    """Apply --cfg-options, and build the detector where they change it."""
    for key in changes:
        parents = ".".join(key.split(".")[:-1][:2])
        known = not parents or value_at(config, parents) is not None
        assert known, f"{key}: the config has no {parents}"
    config.merge_from_dict(dict(changes))
    if any(key.startswith("model.") for key in changes):
        register_all_modules()
        build_without_weights(config.model)
