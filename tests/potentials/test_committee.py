"""A committee is the mean of its members, and a potential like any other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from groundstate.atoms import LevelOfTheory, OptionError, System
from groundstate.potentials import Committee, Potential, checkpoint, disagreement, evaluate
from groundstate.potentials.mace import MACEConfig, build, merged_at
from groundstate.zoo.precision import in_float64
from toys import fcc

CONFIG = MACEConfig(
    channels=4, lmax=2, hidden_lmax=1, correlation=2, cutoff=4.0, heads=("magnetic_moments",), dtype="float64"
)
WANTED = ("energy", "forces", "stress", "magnetic_moments")


def member(seed: int, theory: str = "PBE", **changes: Any) -> Potential:
    config, level = replace(CONFIG, **changes), LevelOfTheory(theory)
    return build(config, elements=(29,), reference_energies=[{29: -3.5}], theories=(level,), seed=seed)


def rattled() -> System:
    system = fcc()
    noise = torch.randn(system.positions.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return system.replace(positions=system.positions + 0.1 * noise)


def test_every_quantity_is_the_mean() -> None:
    members, system = [member(seed) for seed in range(3)], rattled()
    together = evaluate(Committee(members), system, WANTED)
    each = [evaluate(one, system, WANTED) for one in members]
    for name in WANTED:
        torch.testing.assert_close(together[name], torch.stack([one[name] for one in each]).mean(dim=0))


def test_disagreement_is_the_spread_of_members() -> None:
    system = rattled()
    found = disagreement(Committee([member(0), member(1)]), system)
    first, second = (evaluate(member(seed), system, ("energy", "forces")) for seed in (0, 1))
    half = (first["forces"] - second["forces"]).norm(dim=-1) / 2**0.5
    torch.testing.assert_close(found["forces_std"], half)
    torch.testing.assert_close(found["energy_std"], (first["energy"] - second["energy"]).abs() / 2**0.5)
    assert float(disagreement(Committee([member(0), member(0)]), system)["forces_std"].max()) == 0
    with pytest.raises(OptionError, match="E-COMMITTEE-ONE"):
        disagreement(Committee([member(0)]), system)


def test_what_only_some_give_is_left_out_and_different_questions_are_refused() -> None:
    assert Committee([member(0), member(1, heads=())]).provides == frozenset()
    with pytest.raises(OptionError, match=r"E-COMMITTEE.*levels of theory"):
        Committee([member(0), member(1, theory="r2SCAN")])
    with pytest.raises(OptionError, match="E-SUM-EMPTY"):
        Committee([])


def test_it_stays_a_mean_in_double_precision_and_merged() -> None:
    system = rattled()
    single = [member(seed, dtype="float32") for seed in range(2)]
    double = in_float64(Committee(single))
    mean = sum(evaluate(one, system)["energy"] for one in single) / 2
    torch.testing.assert_close(evaluate(double, system)["energy"], mean, rtol=1e-5, atol=1e-5)
    mixed = Committee([member(seed, experts=2) for seed in range(2)])
    merged = merged_at(mixed, system)
    torch.testing.assert_close(evaluate(merged, system)["energy"], evaluate(mixed, system)["energy"])


def test_a_file_gives_it_back(tmp_path: Path) -> None:
    committee = Committee([member(0), member(1)])
    checkpoint.save(committee, tmp_path / "c.safetensors")
    again = checkpoint.load(tmp_path / "c.safetensors")
    assert isinstance(again, Committee)
    system = rattled()
    torch.testing.assert_close(evaluate(again, system)["energy"], evaluate(committee, system)["energy"])
