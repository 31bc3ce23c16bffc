"""Which runs a request makes: configs, folders, learning rates, refusals."""

import copy
import json
from pathlib import Path

import pytest

from fpn_necks.reproduction import Pretraining, Table, find_table
from fpn_necks.reproduction.data_files import missing_data
from fpn_necks.reproduction.planning import (
    Launch,
    Request,
    Run,
    choose_rows,
    plan_runs,
)
from fpn_necks.reproduction.results import write_json, write_text
from tests.reproduction.tiny_table import small_options, tiny_table
from tests.tiny_sets import write_coco_set


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return tiny_table(tmp_path_factory.mktemp("planning"))


def plan(table: Table, folder: Path, rows: list[str] | None = None, **request) -> list:
    return plan_runs(table, choose_rows(table, rows), Request(folder, **request))


def test_all_rows_that_can_be_trained_in_order_of_seeds(
    table: Table, tmp_path: Path
) -> None:
    runs = plan(table, tmp_path, seeds=(3, 1))
    folders = [run.folder.relative_to(tmp_path).as_posix() for run in runs]
    slug = "s-alpha-alpha-0.5"
    assert folders == [
        "tiny-table-1/fpn/seed3",
        f"tiny-table-1/{slug}/seed3",
        "tiny-table-1/fpn/seed1",
        f"tiny-table-1/{slug}/seed1",
    ]
    assert [run.config.randomness.seed for run in runs] == [3, 3, 1, 1]
    assert runs[1].config.model.neck.fusion_factor == 0.5
    assert all("fpn_necks" in run.config.custom_imports.imports for run in runs)
    by_seed = [run.facts["settings_of_all_seeds"] for run in runs]
    assert by_seed[0] == by_seed[2] != by_seed[1] == by_seed[3]
    assert len({run.facts["settings"] for run in runs}) == 4
    assert not any(tmp_path.iterdir())


def test_rows_by_name_or_slug(table: Table) -> None:
    wanted = ["s-alpha-alpha-0.5", "FPN", "S-α, α = 0.5"]
    assert [row.name for row in choose_rows(table, wanted)] == ["S-α, α = 0.5", "FPN"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s-alpha-0.5", "no row 's-alpha-0.5'; near ones: .*s-alpha-alpha-0.5"),
        ("another system", "is quoted: from its own paper"),
        ("FPN | distilled", "not trained here: distillation is not in this library"),
    ],
)
def test_rows_that_cannot_be_run(table: Table, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_rows(table, [name])


@pytest.mark.parametrize(("gpus", "nodes", "rate"), [(1, 1, 0.00125), (8, 2, 0.02)])
def test_learning_rate_of_the_real_batch(
    table: Table, tmp_path: Path, gpus: int, nodes: int, rate: float
) -> None:
    launcher = "none" if gpus == 1 else "slurm"
    (run,) = plan(table, tmp_path, ["fpn"], launch=Launch(launcher, gpus, nodes))
    assert run.config.auto_scale_lr.enable
    assert run.facts["base_batch_size"] == 16
    assert run.facts["batch_size"] == 2 * gpus * nodes
    assert run.facts["config_learning_rate"] == 0.01
    assert run.facts["learning_rate"] == pytest.approx(rate)
    assert run.facts["deviations"] == []


def test_users_switch_off_the_scaling(table: Table, tmp_path: Path) -> None:
    off = {"auto_scale_lr.enable": False}
    (run,) = plan(table, tmp_path, ["fpn"], overrides=off)
    assert run.facts["learning_rate"] == 0.01
    assert not run.facts["learning_rate_scaled"]
    (deviation,) = run.facts["deviations"]
    assert deviation.startswith("learning rate: auto_scale_lr.enable True -> False")


def test_an_option_that_fits_no_row(table: Table, tmp_path: Path) -> None:
    option = {"train_dataloader.dataset.pipeline.9.scale": 1}
    with pytest.raises(ValueError, match="row 'FPN': option .*pipeline.9.* not fit"):
        plan(table, tmp_path, overrides=option)


def test_launch_commands() -> None:
    config = Path("folder/config.py")
    alone = Launch().command(config, "row")
    assert alone[1:] == ["-m", "fpn_necks.reproduction.worker", "folder/config.py"]
    several = Launch("pytorch", gpus=4).command(config, "row")
    assert several[1:5] == ["-m", "torch.distributed.run", "--standalone",
                            "--nproc_per_node=4"]  # fmt: skip
    assert several[-2:] == ["--launcher", "pytorch"]
    slurm = Launch("slurm", gpus=8, nodes=2, srun_args="-p long").command(config, "row")
    assert slurm[0] == "srun"
    assert {"--ntasks=16", "--ntasks-per-node=8", "--gres=gpu:8", "--nodes=2"} <= {
        *slurm
    }
    assert slurm[slurm.index("-p") + 1] == "long"


def test_nodes_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_RANK", raising=False)
    monkeypatch.setenv("MASTER_ADDR", "first")
    with pytest.raises(ValueError, match="not set: NODE_RANK"):
        Launch("pytorch", gpus=2, nodes=2)
    monkeypatch.setenv("NODE_RANK", "1")
    launch = Launch("pytorch", gpus=2, nodes=2)
    assert not launch.is_main_node
    assert {"--node_rank=1", "--master_addr=first", "--nnodes=2"} <= {
        *launch.command(Path("config.py"), "row")
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", 2), "gpus=2 needs a launcher"),
        (("pytorch", 0), "gpus must be at least 1, got 0"),
        (("mpi", 1), "launcher must be one of none, pytorch, slurm, got 'mpi'"),
    ],
)
def test_wrong_launches(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Launch(*arguments)


def test_missing_data_is_named_with_its_option(table: Table, tmp_path: Path) -> None:
    (run,) = plan(table, tmp_path, ["fpn"], data_root="nowhere/coco")
    missing = missing_data(run)
    assert missing is not None
    assert missing.startswith("nowhere/coco/annotations/instances_train2017.json is ")
    assert "--data-root" in missing and "train_dataloader.dataset.data_root" in missing
    write_coco_set(tmp_path / "set", images=False)
    options = small_options(tmp_path / "set")
    options["val_evaluator.ann_file"] = "gone.json"
    (run,) = plan(table, tmp_path, ["fpn"], overrides=options)
    assert missing_data(run) == (
        "gone.json is missing; set it with --cfg-options val_evaluator.ann_file="
    )


def test_data_root_moves_data_sets_and_evaluators(table: Table, tmp_path: Path) -> None:
    (run,) = plan(table, tmp_path, ["fpn"], data_root="/elsewhere/")
    for split in ("train", "val", "test"):
        assert run.config[f"{split}_dataloader"].dataset.data_root == "/elsewhere/"
    expected = "/elsewhere/annotations/instances_val2017.json"
    assert run.config.val_evaluator.ann_file == expected
    assert run.config.test_evaluator.ann_file == expected


def start(run: Run) -> None:
    write_text(run.folder / "config.py", run.config.pretty_text)
    write_json(run.folder / "run.json", run.facts)


def test_a_folder_of_another_configuration_is_refused(
    table: Table, tmp_path: Path
) -> None:
    (run,) = plan(table, tmp_path, ["fpn"])
    assert run.state() == "new"
    start(run)
    assert run.state() == "interrupted"
    run.check_folder()
    (other,) = plan(table, tmp_path, ["fpn"], overrides={"train_cfg.max_epochs": 3})
    with pytest.raises(ValueError, match="train_cfg.max_epochs 12 -> 3.*--work-dir"):
        other.check_folder()
    (more,) = plan(table, tmp_path, ["fpn"], launch=Launch("pytorch", 2))
    with pytest.raises(ValueError, match="world_size 1 -> 2"):
        more.check_folder()


def test_a_folder_may_go_on_with_other_workers(table: Table, tmp_path: Path) -> None:
    (run,) = plan(table, tmp_path, ["fpn"])
    start(run)
    indifferent = {
        "train_dataloader.num_workers": 7,
        "env_cfg.cudnn_benchmark": True,
        "default_hooks.checkpoint.max_keep_ckpts": 1,
    }
    (other,) = plan(table, tmp_path, ["fpn"], overrides=indifferent)
    other.check_folder()


def test_pretraining_comes_first_and_once(tmp_path: Path) -> None:
    shipped = find_table("s-alpha-table-3")
    rows = [row for row in shipped.rows if row.pretraining is not None]
    assert rows
    row = copy.copy(rows[0])
    assert isinstance(row.pretraining, Pretraining)
    short = {"train_cfg.max_iters": 7}
    runs = plan_runs(shipped, [row], Request(tmp_path, pretraining_overrides=short))
    first, second = runs
    assert first.folder.parts[-3] == "pretraining"
    assert not first.facts["evaluate"] and second.facts["evaluate"]
    wanted = first.folder / "iter_7.pth"
    assert second.config.load_from == str(wanted.resolve())
    assert any(
        "pretraining train_cfg.max_iters" in d for d in second.facts["deviations"]
    )
    twice = plan_runs(shipped, [row], Request(tmp_path, seeds=(0, 1)))
    assert len({run.folder for run in twice}) == len(twice) == 4
    assert twice[1].config.load_from.endswith(row.pretraining.checkpoint)


def test_facts_are_json(table: Table, tmp_path: Path) -> None:
    options = {"model.backbone.init_cfg": None, "a.b": (1, 2)}
    (run,) = plan(table, tmp_path, ["s-alpha-alpha-0.5"], overrides=options)
    facts = json.loads(json.dumps(run.facts))
    assert facts["options"] == {"model.neck.fusion_factor": 0.5}
    assert facts["overrides"] == {"model.backbone.init_cfg": None, "a.b": [1, 2]}
