"""Training, resuming, adapting and naming in a recipe a model whose linear maps are mixtures of experts."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate.atoms import LevelOfTheory, OptionError
from groundstate.data import Record
from groundstate.potentials import Model, checkpoint, evaluate
from groundstate.potentials.mace import MACEConfig, build, merged_at
from groundstate.training import Adapted, TrainConfig, load_recipe, train_from_scratch
from groundstate.training.run_folder import RunFolder
from training.specimens import copper

SMALL = MACEConfig(channels=4, lmax=1, hidden_lmax=0, correlation=2, layers=1, cutoff=3.5, experts=2)
CONFIG = TrainConfig(
    epochs=3,
    batch_size=4,
    weights={"energy": 1.0, "forces": 1.0},
    checkpoint_every_minutes=0.0,
    accelerator="cpu",
)
PBE, SCAN = LevelOfTheory("PBE"), LevelOfTheory("r2SCAN")


def two_metals_at_two_levels(frames: int, seed: int) -> list[Record]:
    """Copper, "nickel" with stronger bonds, and both at a level where bonds are weaker."""
    made = []
    for i, record in enumerate(copper(frames, seed)):
        strength = (1.0, 1.5)[i % 2] * (1.0, 0.8)[i // 2 % 2]
        system = record.system.replace(numbers=torch.full_like(record.system.numbers, (29, 28)[i % 2]))
        labels = {name: strength * label for name, label in record.labels.items()}
        made.append(replace(record, system=system, labels=labels, theory=(PBE, SCAN)[i // 2 % 2]))
    return made


def test_experts_are_learned_and_told_apart(tmp_path: Path) -> None:
    train, valid = two_metals_at_two_levels(24, 1), two_metals_at_two_levels(8, 2)
    result = train_from_scratch(train, valid, SMALL, replace(CONFIG, epochs=5), tmp_path)
    assert result.after["forces"].rmse < 0.9 * result.before["forces"].rmse
    losses = [line["train_loss"] for line in result.history]
    assert losses[-1] < losses[0]
    loaded = checkpoint.load(result.path)
    assert isinstance(loaded, Model)
    assert loaded.fingerprint() == result.potential.fingerprint()
    system = valid[0].system.replace(theory=torch.tensor([1]))
    asked, merged = evaluate(loaded, system), evaluate(merged_at(loaded, system), system.replace(theory=None))
    torch.testing.assert_close(merged["forces"], asked["forces"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(merged["energy"], asked["energy"], rtol=0, atol=1e-5)


def test_a_run_that_was_cut_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, valid = two_metals_at_two_levels(12, 1), two_metals_at_two_levels(4, 2)
    whole = train_from_scratch(train, valid, SMALL, CONFIG, tmp_path / "whole")
    save, saved = RunFolder.save_checkpoint, []

    def fail_later(self: RunFolder, *given: object) -> None:
        save(self, *given)  # type: ignore[arg-type]
        saved.append(1)
        if len(saved) == 4:
            raise KeyError("power cut")

    monkeypatch.setattr(RunFolder, "save_checkpoint", fail_later)
    with pytest.raises(KeyError):
        train_from_scratch(train, valid, SMALL, CONFIG, tmp_path / "cut")
    monkeypatch.undo()
    resumed = train_from_scratch(train, valid, SMALL, CONFIG, tmp_path / "cut")
    assert resumed.potential.fingerprint() == whole.potential.fingerprint()


@pytest.mark.parametrize("differentiable", [False, True])
def test_adapters_turn_every_expert(differentiable: bool) -> None:
    shape = replace(SMALL, channels=6, lmax=1, hidden_lmax=1, layers=2, cutoff=4.0, experts=3, dtype="float64")
    base = build(shape, elements=[28, 29], reference_energies=[{28: -1.0, 29: -2.0}])
    adapted = Adapted(base, rank=2, alpha=2.0)
    assert adapted.into["trunk/layers/0/down/weights/0"].shape == (3, 6, 2)
    system = two_metals_at_two_levels(1, 1)[0].system
    start = evaluate(base, system, differentiable=differentiable)["forces"]
    same = evaluate(adapted, system, differentiable=differentiable)["forces"]
    torch.testing.assert_close(same, start, rtol=0, atol=1e-12)
    with torch.no_grad():
        for i, factor in enumerate(adapted.out.values()):
            drawn = torch.randn(factor.shape, generator=torch.Generator().manual_seed(i), dtype=factor.dtype)
            factor.copy_(0.2 * drawn)
    turned = evaluate(adapted, system, differentiable=differentiable)["forces"]
    assert float((turned - start).detach().abs().max()) > 1e-4
    plain = adapted.merged()
    assert plain.describe() == base.describe()
    torch.testing.assert_close(evaluate(plain, system)["forces"], turned.detach(), rtol=0, atol=1e-10)


def test_a_recipe_names_experts(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"

    def model(line: str) -> MACEConfig:
        file.write_text(f'[model]\nsize = "S"\n{line}\n', encoding="utf-8")
        return load_recipe(file).model

    assert model("experts = 4") == MACEConfig.of_size("S", experts=4)
    assert model("") == MACEConfig.of_size("S")
    with pytest.raises(OptionError, match="E-OPTION-TYPE"):
        model('experts = "4"')
    with pytest.raises(OptionError, match=r"E-MACE-CONFIG: experts = 1"):
        model("experts = 1")
