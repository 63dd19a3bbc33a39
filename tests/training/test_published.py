"""The benchmark of published sets, on a toy set: division, run, card, page."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from groundstate.data import Provenance, Record, write
from groundstate.training import ErrorRow, ErrorTable
from groundstate.training.nearest import nearest_distances
from training.specimens import copper

SETS = """
[toy-Cu]
title = "Toy copper"
recipe = "toy"
train = "toy/train.extxyz"
first = 22
groups = ["taught*"]
valid = 4
error = "mae"
energy = "structure"
subsets = { 8 = 5.0 }
notes = "a toy"
[toy-Cu.tests.near]
file = "toy/test.extxyz"
groups = ["near"]
floor = { energy = 1e9, forces = 1e-9 }
published.Somebody = { energy = 1.5, forces = 10.0, seen = "memory" }
[toy-Cu.tests.far]
file = "toy/test.extxyz"
groups = ["far"]
"""
RECIPE = """
[model]
channels = 4
lmax = 1
hidden_lmax = 0
layers = 1
cutoff = 3.5
[train]
epochs = 2
accelerator = "cpu"
"""
MODULES = ("sets", "cards", "page", "run", "trials")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The files of the benchmark, imported as its command does and forgotten after."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks" / "published"))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data, sets and recipe; one test frame is a rotated training frame."""
    (tmp_path / "toy").mkdir()
    taught = copper(30, seed=1)
    turn = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    system, labels = taught[3].system, taught[3].labels
    turned = replace(
        taught[3],
        system=system.replace(positions=system.positions @ turn, cell=system.cell @ turn),
        labels={**labels, "forces": labels["forces"] @ turn, "stress": turn.T @ labels["stress"] @ turn},
    )
    near = [_tagged(record, "near") for record in [*copper(5, seed=2), turned]]
    write(tmp_path / "toy/test.extxyz", [*near, *(_tagged(record, "far") for record in copper(4, seed=3))])
    # Two frames of another group come first and do not count among the first 22.
    groups = ["other", "other", *["taught_md"] * 28]
    write(tmp_path / "toy/train.extxyz", [_tagged(r, group) for r, group in zip(taught, groups, strict=True)])
    (tmp_path / "sets.toml").write_text(SETS)
    (tmp_path / "toy.toml").write_text(RECIPE)
    return tmp_path


def _tagged(record: Record, group: str) -> Record:
    return replace(record, provenance=Provenance(tags={"group": group}))


def _command(monkeypatch: pytest.MonkeyPatch, benchmark: dict[str, ModuleType], folder: Path, *words: str) -> None:
    places = ["--sets-file", str(folder / "sets.toml"), "--recipes", str(folder), "--cards", str(folder / "cards")]
    monkeypatch.setattr(sys, "argv", ["run.py", *words, *places])
    benchmark["run"].main()


def test_division(benchmark: dict[str, ModuleType], folder: Path) -> None:
    sets = benchmark["sets"]
    chosen = sets.load_sets(folder / "sets.toml")["toy-Cu"]
    whole, part = sets.divide(chosen, folder), sets.divide(chosen, folder, 8)
    assert (len(whole.train), len(whole.valid), len(part.train)) == (18, 4, 8)
    assert {name: len(records) for name, records in whole.tests.items()} == {"near": 6, "far": 4}
    frames = [record.provenance.frame for record in [*whole.train, *whole.valid]]
    assert sorted(frames) == list(range(2, 24))  # the first 22 of the group, each once
    assert [record.provenance.frame for record in part.train] == frames[:8]
    assert [record.provenance.frame for record in part.valid] == frames[18:]
    assert whole.copies == {"near": (5,), "far": ()}
    assert set(whole.train[0].labels) == {"energy", "forces"}
    with pytest.raises(ValueError, match="19 frames were asked for, and there are 18"):
        sets.divide(chosen, folder, 19)


def test_a_frame_that_is_taught_and_judged_by_is_refused(benchmark: dict[str, ModuleType], folder: Path) -> None:
    chosen = benchmark["sets"].load_sets(folder / "sets.toml")["toy-Cu"]
    part = replace(chosen.tests["near"], file=chosen.train, groups=("taught*",))
    with pytest.raises(ValueError, match="among the frames to learn from"):
        benchmark["sets"].divide(replace(chosen, tests={"near": part}), folder)


def test_run_card_and_page(
    benchmark: dict[str, ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in ("0", "1", "1"):  # the last again: a finished run is not another seed
        words = ("toy-Cu", "--data", str(folder), "--output", str(folder / "runs"), "--seed", seed)
        _command(monkeypatch, benchmark, folder, *words)
    card = json.loads((folder / "cards/toy-Cu.json").read_text())
    assert [run["seed"] for run in card["runs"]] == [0, 1]
    assert card["frames"] == {"train": 18, "valid": 4, "test, near": 6, "test, far": 4}
    assert card["near copies in the training file"] == {"near": 1, "far": 0}
    errors = [run["tests"]["near"] for run in card["runs"]]
    assert errors[0]["without copies"]["frames"] == 5
    result = card["results"]["near"]
    values = [one["energy"]["mae"] for one in errors]
    assert result["energy"]["value"] == pytest.approx(sum(values) / 2, rel=1e-3)
    assert result["energy"]["spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5, rel=1e-3)
    assert (result["energy"]["floor reached"], result["forces"]["floor reached"]) == (True, False)
    assert (result["energy"]["unit"], result["forces"]["unit"]) == ("meV", "meV/Å")
    assert "floor" not in card["results"]["far"]["energy"]

    together = card["together"]["tests"]["near"]["forces"]
    assert card["together"]["seeds"] == [0, 1]
    parts = [one["forces"]["rmse"] for one in errors]
    assert 0 < together["rmse"] <= 1.001 * sum(parts) / 2  # the error of a mean is at most the mean of the errors

    capsys.readouterr()
    _command(monkeypatch, benchmark, folder, "--table")
    page = capsys.readouterr().out
    assert f"/ {together['mae']:.3g} (2) |" in page
    assert "| Somebody | 1.5 / 10* | – |" in page
    assert "1 of the 6 test frames" in page
    assert "| toy-Cu, near | forces |" in page
    assert "| toy-Cu, near | energy |" not in page


def test_energies_are_those_of_whole_structures(benchmark: dict[str, ModuleType], folder: Path) -> None:
    chosen = benchmark["sets"].load_sets(folder / "sets.toml")["toy-Cu"]
    row = ErrorRow("eV/atom", 0.002, 0.001, 0.0, 3)
    table = ErrorTable(3, {"energy": row, "forces": row})
    records = copper(3, seed=1)  # of four atoms
    assert benchmark["cards"].errors_of(chosen, table, records)["energy"] == {"rmse": 8.0, "mae": 4.0}
    assert benchmark["cards"].errors_of(replace(chosen, energy="atom"), table, records)["energy"]["mae"] == 1.0


def test_runs_of_other_options_leave_the_card(
    benchmark: dict[str, ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("toy-Cu", "--data", str(folder), "--output")
    _command(monkeypatch, benchmark, folder, *words, str(folder / "runs"))
    _command(monkeypatch, benchmark, folder, *words, str(folder / "longer"), "--epochs", "3", "--seed", "1")
    card = json.loads((folder / "cards/toy-Cu.json").read_text())
    assert [run["seed"] for run in card["runs"]] == [1]
    assert card["training"]["epochs"] == 3
    assert "1 runs of other data, model or options are dropped" in capsys.readouterr().out


def test_a_set_can_go_on_from_another_model(
    benchmark: dict[str, ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = "toy-Cu-seed0/model.safetensors"
    further = SETS.replace("toy-Cu", "toy_more").replace("first = 22", f'first = 22\nstart = "{file}"')
    (folder / "sets.toml").write_text(SETS + further)
    words = ("toy-Cu", "toy_more", "--data", str(folder), "--output", str(folder / "runs"), "--epochs", "3")
    _command(monkeypatch, benchmark, folder, *words)
    first, more = (json.loads((folder / f"cards/{name}.json").read_text()) for name in ("toy-Cu", "toy_more"))
    assert "start" not in first
    assert more["start"] == first["runs"][0]["fingerprint"]
    assert more["model"]["channels"] == first["model"]["channels"]
    errors = [card["runs"][0]["curve"]["train forces"] for card in (first, more)]
    assert errors[1][0] < 1.05 * errors[0][-1]  # where the first ended


def test_trials_change_one_thing_each(
    benchmark: dict[str, ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--data", str(folder), "--output", str(folder / "trials")]
    places += ["--sets-file", str(folder / "sets.toml"), "--recipes", str(folder)]
    ways = ["", "train.learning_rate=1e-9", "train.epochs=4"]
    monkeypatch.setattr(sys, "argv", ["trials.py", "toy-Cu", *places, "--ways", *ways])
    benchmark["trials"].main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if " taught " in line]
    assert [line[0] for line in lines] == ["2.0", "2.0", "4.0"]
    assert [line[-1] for line in lines] == ["recipe", "train.learning_rate=1e-9", "train.epochs=4"]
    assert lines[0][2] == "MAE"
    assert len({line[line.index("choosing") + 3] for line in lines}) == 3  # errors of forces
    benchmark["trials"].main()
    assert [line.split() for line in capsys.readouterr().out.splitlines() if " taught " in line] == lines


def test_frames_beyond_the_data_are_set_aside_or_given_and_told(
    benchmark: dict[str, ModuleType], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records = copper(9, seed=1)
    near = [float(nearest_distances([record])[29, 29]) for record in records]
    kept, aside = benchmark["trials"].without_shortest(records, 2)
    shortest = sorted(range(9), key=lambda i: near[i])[:2]
    assert [id(record) for record in aside] == [id(records[i]) for i in shortest]
    assert [id(record) for record in kept] == [id(records[i]) for i in range(9) if i not in shortest]
    beyond = [replace(record, labels={"forces": record.labels["forces"]}) for record in copper(2, seed=7)]
    write(folder / "beyond.extxyz", beyond)
    places = ["--data", str(folder), "--output", str(folder / "trials"), "--shortest", "3"]
    places += ["--beyond", str(folder / "beyond.extxyz")]
    places += ["--sets-file", str(folder / "sets.toml"), "--recipes", str(folder)]
    monkeypatch.setattr(sys, "argv", ["trials.py", "toy-Cu", *places])
    benchmark["trials"].main()
    (line,) = (line.split() for line in capsys.readouterr().out.splitlines() if " taught " in line)
    assert float(line[line.index("shortest") + 3]) > 0
    told = line[line.index("beyond") :]
    assert float(told[1]) > 0
    assert told[2] == "meV/Å:"  # no energy: it would count from another zero


def test_a_way_that_names_one_weight_leaves_the_others(benchmark: dict[str, ModuleType], folder: Path) -> None:
    recipe = benchmark["run"].load_recipe(folder / "toy.toml")
    model, train = benchmark["trials"].changed(recipe, "model.channels=8 train.weights.forces=7.5")
    assert model == replace(recipe.model, channels=8)
    assert train.weights == {**recipe.train.weights, "forces": 7.5}
    with pytest.raises(ValueError, match="'trian' is no part of a recipe"):
        benchmark["trials"].changed(recipe, "trian.epochs=3")


def test_exponent_of_a_power_law(benchmark: dict[str, ModuleType]) -> None:
    cards = [
        {"frames": {"train": n}, "runs": [{"tests": {"test": {"forces": {"mae": 50.0 * n**-0.5}}}}]}
        for n in (10, 20, 40, 80)
    ]
    assert benchmark["page"].exponent(cards, "test", "forces", "mae").startswith("N^−0.50 (0.50 … 0.50)")


def test_published_sets_are_readable(benchmark: dict[str, ModuleType]) -> None:
    root = Path(__file__).parents[2]
    known = benchmark["sets"].load_sets(root / "benchmarks/published/sets.toml")
    for chosen in known.values():
        assert (root / "recipes" / f"{chosen.recipe}.toml").is_file()
        for part in chosen.tests.values():
            assert {value["seen"] for value in part.published.values()} <= benchmark["page"].MARKS.keys()


def test_the_page_is_what_the_cards_say(benchmark: dict[str, ModuleType]) -> None:
    root = Path(__file__).parents[2]
    known = benchmark["sets"].load_sets(root / "benchmarks/published/sets.toml")
    made = benchmark["page"].page(known, root / "recipes" / "cards")
    told = (root / "docs" / "published.md").read_text(encoding="utf-8")
    assert told == made, "run python benchmarks/published/run.py --table --write docs/published.md"
