"""What there is and what was run of it, for the command line."""

from __future__ import annotations

from pathlib import Path

from fpn_necks.reproduction.run import RESULT_FILE, RUN_FILE

from .cells import all_cells, planned_blocks


def lines(work_dir: Path, results: Path) -> list[str]:
    """Return a line per cell: its name, its recipe's hash and the state of its seeds.

    Args:
        work_dir: Folder of all runs.
        results: Folder of the collected results.
    """
    planned = {cell for block in planned_blocks() for cell in block}
    width = max(len(cell.name) for cell in all_cells())
    found = [f"{'cell':<{width}}  recipe            plan  seeds"]
    for cell in all_cells():
        collected = {
            int(file.stem.rpartition("_seed")[2])
            for file in results.glob(f"{cell.name}_seed*.json")
        }
        folders = sorted((work_dir / cell.name).glob("seed*"))
        finished = {_seed(f) for f in folders if (f / RESULT_FILE).is_file()}
        started = {_seed(f) for f in folders if (f / RUN_FILE).is_file()}
        states = [
            f"{seed}{'' if seed in finished | collected else ' unfinished'}"
            for seed in sorted(finished | collected | started)
        ]
        mark = "yes" if cell in planned else "-"
        found.append(
            f"{cell.name:<{width}}  {cell.recipe_hash()}  {mark:<4}  "
            f"{', '.join(states) or 'not run'}"
        )
    return found


def _seed(folder: Path) -> int:
    return int(folder.name.removeprefix("seed"))
