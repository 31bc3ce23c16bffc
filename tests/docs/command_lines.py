"""The command lines of the pages: taken apart, and given to the scripts' own parsers.

A script is run up to where it has read its command line and stopped there, so that a
page is held to the options, values and numbers of arguments that the script really
takes. What is cheap and changes nothing runs to its end.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import io
import os
import re
import runpy
import shlex
import sys
from argparse import Namespace
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

import mmdet
from mmdet.utils import register_all_modules
from mmengine.config import Config

from fpn_necks.cli import main
from fpn_necks.config_tools import build_without_weights
from fpn_necks.shipped_configs import config_path
from tests.docs.code_blocks import READERS_FILES, ROOT

MMDET = Path(mmdet.__file__).parent / ".mim"
FOLDERS = ("configs/", "tools/", "docs/", "tests/", "fpn_necks/")
DATA_SETS = "coco|coco100|tinyperson|tinycitypersons|cityscapes"
CONFIG_NAME = re.compile(rf"(?!my_)[a-z0-9-]+_[\w.-]+_({DATA_SETS})(\.py)?")
# What a page calls the clone where the reader is in another folder.
CLONE = "path/to/clone/"
# Programs that need no more than to be named.
PLAIN = {"cp", "export", "ruff", "source"}
# They print what is there and end: they are run.
CHEAP = {"configs", "check", "list", "show", "--help", "-h", "--version"}


class WrongCommand(Exception):
    """A command line that would not work."""


class _Parsed(BaseException):
    """Carries what a parser has read out of the script."""


def commands_in(source: str) -> list[str]:
    """Return the commands of a bash block, one per line of the shell."""
    lines = source.replace("\\\n", " ").splitlines()
    return [line for line in lines if shlex.split(line, comments=True)]


def check_command(
    line: str, variables: dict[str, str], files: Collection[str] = ()
) -> None:
    """Check one line.

    Args:
        line: of a shell.
        variables: what earlier lines of the page have set; added to.
        files: the reader's own, which the page shows.

    Raises:
        WrongCommand: it would not work; the message says why.
    """
    assigned = re.fullmatch(r"(?:export )?(\w+)=\$\((.*)\)([\w./]*)\s*(#.*)?", line)
    if assigned:
        variables[assigned[1]] = _output_of(assigned[2], variables) + assigned[3]
        return
    words = shlex.split(_with_values(line, variables), comments=True)
    for command in _simple_commands(words):
        while command and (setting := re.fullmatch(r"(\w+)=(.*)", command[0])):
            variables[setting[1]] = setting[2]
            command = command[1:]
        command = [
            f"my_{Path(word).name}" if word in files else word.removeprefix(CLONE)
            for word in command
        ]
        if command:
            _check_simple(command)


def _with_values(line: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in variables:
            raise WrongCommand(f"${name} is set nowhere before: {line}")
        return variables[name]

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, line)


def _simple_commands(words: Sequence[str]) -> Iterator[list[str]]:
    command: list[str] = []
    skip = False
    for word in words:
        if word in ("&&", "|", "||", ";"):
            yield command
            command = []
        elif word in (">", ">>", "2>", "<"):
            skip = True
        elif skip:
            skip = False
        else:
            command.append(word)
    yield command


def _output_of(command: str, variables: Mapping[str, str]) -> str:
    """Run what stands in ``$(...)``, which may only print."""
    words = shlex.split(_with_values(command, variables))
    if words[:2] == ["python", "-c"]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(words[2], {})
    elif words[:2] == ["fpn-necks", "configs"]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            _run(words, (0,))
    else:
        raise WrongCommand(f"$({command}) is of no kind that is known here")
    return out.getvalue().strip()


def _check_simple(words: list[str]) -> None:
    for word in words:
        _check_word(word)
    program, rest = Path(words[0]).name, words[1:]
    if re.fullmatch(r"python(3(\.\d+)?)?", program):
        _check_python(rest)
    elif program == "fpn-necks":
        _check_script(words)
    elif program == "bash":
        _check_shell_script(rest)
    elif program == "pytest":
        pass  # its files are looked for as all are
    elif program == "pip":
        _check_pip(rest)
    elif program == "mim":
        if rest[0] not in ("search", "test", "train"):
            raise WrongCommand(f"mim has no command {rest[0]!r}")
    elif program not in PLAIN:
        raise WrongCommand(
            f"{program!r} is a program that tests/docs/command_lines.py does not know: "
            f"{shlex.join(words)}"
        )


def _check_word(word: str) -> None:
    """Look for files of the repository and shipped configs."""
    value = word.split("=", 1)[-1]
    path = re.sub(r"(::|\[|@|:).*", "", value)
    if path.startswith(FOLDERS) and "*" not in path and "_build" not in path:
        if not (ROOT / path).exists():
            raise WrongCommand(f"there is no {path}")
    if value.startswith("mmdet::"):
        name = value.removeprefix("mmdet::").split("@")[0].removesuffix(".py")
        if not (MMDET / "configs" / f"{name}.py").is_file():
            raise WrongCommand(f"mmdet has no config {name}")
    name = value.split("@")[0]
    if CONFIG_NAME.fullmatch(name):
        try:
            config_path(name)
        except LookupError as error:
            raise WrongCommand(str(error)) from error


def _check_python(words: list[str]) -> None:
    if words[0] == "-c":
        ast.parse(words[1])
    elif words[0] == "-m":
        if words[1] != "pytest":
            raise WrongCommand(f"python -m {words[1]} is not known here")
    else:
        _check_script(words)


def _check_pip(words: list[str]) -> None:
    if words[0] not in ("install", "uninstall", "list", "show"):
        raise WrongCommand(f"pip has no command {words[0]!r} that is known here")
    extras = re.findall(r"\[([\w,-]+)\]", " ".join(words))
    project = (ROOT / "pyproject.toml").read_text()
    for extra in ",".join(extras).split(","):
        if extra and not re.search(rf"^{extra} = \[", project, re.MULTILINE):
            raise WrongCommand(f"the package has no extra {extra!r}")


def _check_shell_script(words: list[str]) -> None:
    script = _script(words[0])
    known = script.read_text()
    for word in words[1:]:
        is_option = word.startswith("-") and script.name != "test.sh"
        if is_option and not re.search(rf"(?<!\S){re.escape(word)}\b", known):
            raise WrongCommand(f"{script.name} has no option {word}")


def _script(word: str) -> Path:
    """Return the file of a script of this repository or of mmdet's tools."""
    for folder in ("mmdet/.mim/", "mmdetection/"):
        if folder in word:
            path = MMDET / word.split(folder, 1)[1]
            break
    else:
        path = ROOT / word
    if not path.is_file():
        raise WrongCommand(f"there is no script {word}")
    return path


def _check_script(words: list[str]) -> None:
    if not words[0].startswith("my_"):
        _check_script_once(tuple(words))


@functools.cache
def _check_script_once(words: tuple[str, ...]) -> None:
    is_check = words[:2] == ("fpn-necks", "check")
    is_cheap = CHEAP & set(words[1:3]) and words[1] != "tiny-person"
    if is_cheap and not (is_check and _shipped(words[2]) is None):
        # `check` ends with 1 where it finds what the page shows.
        _run(words, (0, 1) if is_check else (0,))
        return
    options = _parse(words)
    name = Path(words[0]).name
    if name in ("train.py", "test.py") and hasattr(options, "cfg_options"):
        config = _shipped(options.config)  # a reader's own is None
        if config is not None:
            _check_overrides(config, options.cfg_options or {})


def _parse(words: Sequence[str]) -> Namespace:
    """Run a script until it has read its command line."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser, args=None, namespace=None):
        raise _Parsed(parse(parser, args, namespace))

    errors = io.StringIO()
    try:
        with mock.patch.object(argparse.ArgumentParser, "parse_args", parse_and_stop):
            with contextlib.redirect_stderr(errors):
                _start(words)
    except _Parsed as parsed:
        return parsed.args[0]
    except SystemExit as error:
        raise WrongCommand(
            f"{shlex.join(words)}: {errors.getvalue() or error}"
        ) from None
    raise WrongCommand(f"{words[0]} reads no command line")


def _run(words: Sequence[str], allowed: tuple[int, ...]) -> None:
    status: object = 0
    try:
        with _in_root():
            _start(words)
    except SystemExit as error:
        status = error.code or 0
    if status not in allowed:
        raise WrongCommand(f"{shlex.join(words)} ends with status {status}")


@contextlib.contextmanager
def _in_root() -> Iterator[None]:  # Python 3.10 has no contextlib.chdir

    before = Path.cwd()
    os.chdir(ROOT)
    try:
        yield
    finally:
        os.chdir(before)


def _start(words: Sequence[str]) -> None:
    if words[0] == "fpn-necks":
        raise SystemExit(main(list(words[1:])))
    script = _script(words[0])
    path = [str(script.parent), *sys.path]  # as Python starts a script
    with mock.patch.multiple(sys, argv=[str(script), *words[1:]], path=path):
        runpy.run_path(str(script), run_name="__main__")


def _shipped(path: str) -> Config | None:
    """Return a config that exists; those of the reader's own do not."""
    absolute = ROOT / path
    if absolute.is_file():
        return Config.fromfile(absolute)
    name = Path(path).name
    if CONFIG_NAME.fullmatch(name):  # by its name, or written by a training
        return Config.fromfile(config_path(name))
    if name.startswith("my_") or name in READERS_FILES:
        return None
    raise WrongCommand(f"there is no config {path}")


def _check_overrides(config: Config, changes: Mapping[str, object]) -> None:
    """Apply --cfg-options, and build the detector where they change it."""
    for key in changes:
        parents = key.split(".")[:-1]
        place = config
        for parent in parents[:2]:
            if isinstance(place, Mapping) and parent not in place:
                raise WrongCommand(f"{key}: the config has no {parent}")
            place = place[int(parent) if isinstance(place, list) else parent]
    config.merge_from_dict(dict(changes))
    if any(key.startswith("model.") for key in changes):
        register_all_modules()
        build_without_weights(config.model)
