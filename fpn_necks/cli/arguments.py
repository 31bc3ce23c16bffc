"""Arguments that several commands share, and what they need before they run."""

from __future__ import annotations

import argparse
from pathlib import Path


def path(text: str) -> Path:
    """Return the path of a word; ``~`` is expanded."""
    return Path(text).expanduser()


def add_config(parser: argparse.ArgumentParser, text: str = "of a detector") -> None:
    """Add ``CONFIG`` and ``--cfg-options``."""
    parser.add_argument(
        "config", metavar="CONFIG", help=f"{text}: a path or a shipped config's name"
    )
    add_options(parser)


def add_options(
    parser: argparse.ArgumentParser, name: str = "--cfg-options", text: str = ""
) -> None:
    """Add an option for overrides of config values."""
    parser.add_argument(
        name,
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help=f"overrides of config values{text}",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="default: cuda:0 if there is one, else cpu")


def add_force(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--force", action="store_true", help=f"overwrite {what}")


def refuse_existing(file: Path | None, force: bool) -> None:
    """Refuse to overwrite a file, before the work and not after it."""
    if file is not None and file.exists() and not force:
        raise FileExistsError(f"{file} exists; --force overwrites it")


def use_mmdet() -> None:
    """Import and register everything that a config may name; silence the log."""
    import fpn_necks

    fpn_necks.register_modules()
    from mmdet.utils import register_all_modules
    from mmengine.logging import MMLogger

    register_all_modules(init_default_scope=True)
    # How each parameter was initialised would hide what is said here.
    MMLogger.get_instance("mmengine").setLevel("WARNING")


def pick_device(device: str | None) -> str:
    """Return a device that torch has; ``ValueError`` if it has not."""
    import torch

    device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    found = torch.device(device)
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {device}: there is no such GPU here")
    return device
