"""Comparison of models: what is subtracted and what is not, refusals per structure, labels beside models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from groundstate import api
from groundstate.api.compare import _ranks
from groundstate.atoms import GroundstateError, LevelOfTheory, System
from groundstate.cli import main
from groundstate.data import Record, from_ase, write
from groundstate.potentials import Model, Potential, ReferenceEnergies, checkpoint, evaluate
from small_mace import cluster, crystal, small
from toys import SmoothLennardJones, fcc, lennard_jones


def shifted(by: float, epsilon: float = 0.2) -> Potential:
    """The pair potential of the toys with another zero of energy for copper."""
    terms = {"pair": SmoothLennardJones(epsilon, 2.3, 6.0), "zero": ReferenceEnergies([{29: by}])}
    return Model(None, {}, terms, description={"kind": "toy-shifted", "by": by, "epsilon": epsilon})


def copper(count: int = 5) -> list[System]:
    made = []
    for seed in range(count):
        atoms = bulk("Cu", "fcc", 3.5 + 0.08 * seed).repeat(2 if seed % 2 else 1)
        atoms.rattle(0.03, seed=seed)
        made.append(from_ase(atoms))
    return made


def test_another_zero_of_energy_is_no_disagreement() -> None:
    """Cells of two sizes are one composition, so per-atom zeros drop out."""
    found = api.compare(copper(), [shifted(0.0), shifted(-1234.5)])
    (pair,) = found.pairs
    assert pair.structures == 5
    assert pair.force_rmse == 0
    assert pair.relative_max == pytest.approx(0, abs=1e-9)
    assert pair.rank == pytest.approx(1)
    assert pair.pressure_rmse_GPa == pytest.approx(0, abs=1e-9)
    one, other = found.said.values()
    assert [s.relative for s in one] == pytest.approx([s.relative for s in other], abs=1e-9)
    assert min(s.relative for s in one if s.relative is not None) == 0


def test_disagreement_has_its_size_and_its_place() -> None:
    """Twice the well depth: twice the forces, so the difference is the forces themselves."""
    systems = copper()
    found = api.compare(systems, [shifted(0.0), shifted(0.0, epsilon=0.4)])
    (pair,) = found.pairs
    forces = [evaluate(shifted(0.0), one)["forces"] for one in systems]
    rmse = [float(f.square().mean().sqrt()) for f in forces]
    assert pair.force_rmse == pytest.approx(float(torch.cat(forces).square().mean().sqrt()))
    assert pair.force_max == pytest.approx(max(float(f.abs().max()) for f in forces))
    assert pair.worst == rmse.index(max(rmse)) == found.most_contested(1)[0]
    assert found.spread == pytest.approx(rmse)
    assert pair.rank == pytest.approx(1)
    assert pair.relative_rmse is not None
    assert pair.relative_rmse > 1e-3


def test_what_a_model_does_not_know_is_said_and_harms_nobody() -> None:
    found = api.compare([fcc(), crystal(), cluster()], [lennard_jones(), small()])
    first, second = found.said.values()
    assert [bool(said.refusal) for said in second] == [True, False, False]
    assert "Cu" in second[0].refusal
    assert not any(said.refusal for said in first)
    assert found.spread[0] is None
    assert found.pairs[0].structures == 2
    assert second[2].pressure_GPa is None, "a molecule has no pressure"
    assert all(said.relative is None for said in first), "no composition occurs twice"
    assert found.pairs[0].rank is None
    json.dumps(found.as_dict(), allow_nan=False)


def labelled(theories: tuple[str, ...] = ("PBE",)) -> list[Record]:
    records = []
    for i, one in enumerate(copper()):
        values = evaluate(shifted(-7.0), one)
        labels = {"energy": values["energy"][0], "forces": values["forces"]}
        records.append(Record(one, labels, LevelOfTheory(theories[i % len(theories)])))
    return records


def test_labels_take_part_like_a_model_but_energies_of_two_theories_do_not() -> None:
    found = api.compare(labelled(), [shifted(0.0)])
    assert found.pairs[0].second == "labels"
    assert found.theories["labels"] == "PBE"
    assert found.pairs[0].relative_max == pytest.approx(0, abs=1e-9)
    mixed = api.compare(labelled(("PBE", "r2SCAN")), [shifted(0.0)]).pairs[0]
    assert mixed.force_rmse == pytest.approx(0, abs=1e-12)
    assert mixed.relative_max is None
    with pytest.raises(GroundstateError, match="E-COMPARE-ONE"):
        api.compare(labelled(), [shifted(0.0)], labels=False)


def test_ranks_and_ties() -> None:

    assert _ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        checkpoint.save(small(seed=seed), tmp_path / f"m{seed}.safetensors")
    systems = [*(crystal(seed=s) for s in range(3)), cluster(), fcc()]
    write(tmp_path / "a.extxyz", [Record(one) for one in systems])
    words = [
        "models",
        "compare",
        tmp_path / "a.extxyz",
        "--models",
        f"{tmp_path}/m0.safetensors,{tmp_path}/m1.safetensors",
    ]
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--report", str(tmp_path / "c.html"), "--json"])
    assert ended.value.code == 1, "copper has no result"
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["models"]) == ["m0", "m1"]
    assert len({*printed["models"].values()}) == 2
    assert printed["structures"][4]["said"]["m0"]["refusal"].startswith("E-ELEMENT-UNSUPPORTED")
    twin = json.loads((tmp_path / "c.json").read_text())
    assert twin["lead"].startswith("Forces of m0 and m1 differ by")
    assert {"table", "figure", "facts"} <= {section["kind"] for section in twin["sections"]}
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert "Every structure" in capsys.readouterr().out
