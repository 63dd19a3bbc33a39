"""Parity of paths: sound models pass on every path, each fault is found on the path that shows it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from ase.build import bulk, fcc100

from broken_potentials import with_fault
from groundstate import api
from groundstate.api.parity import PathResult
from groundstate.api.ways import Asked, every_way, original, single
from groundstate.atoms import Allowances, Geometry, GroundstateError, System
from groundstate.cli import main
from groundstate.data import from_ase, to_ase, write
from groundstate.data.record import Record
from groundstate.potentials import Energy, checkpoint, evaluate
from groundstate.potentials.mace import MACETrunk
from groundstate.potentials.mace.plain import in_plain_torch
from small_mace import cluster, crystal, small
from toys import lennard_jones

NATIVE = {"channels": 32, "lmax": 2, "hidden_lmax": 1, "correlation": 2, "average_neighbours": 8.0}


def copper() -> list[System]:
    atoms = bulk("Cu", "fcc", 3.7).repeat(2)
    atoms.rattle(0.05, seed=1)
    slab = fcc100("Cu", (1, 1, 3), vacuum=6.0)
    slab.rattle(0.05, seed=3)
    return [from_ase(atoms), from_ase(slab), from_ase(bulk("Cu", "fcc", 3.6))]


def by_name(found: api.Parity) -> dict[str, PathResult]:
    return {result.path: result for result in found.results}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sound_network_gives_the_same_on_every_path(dtype: str) -> None:
    found = api.parity([crystal(), cluster(), crystal(seed=2, pbc=[True, True, False])], small(**NATIVE, dtype=dtype))
    assert found.passed
    assert found.precision == dtype
    results = by_name(found)
    assert (results["float64"].passed is None) == (dtype == "float64")
    for name in ("batched", "ASE calculator", "relaxation engine, skin in use", "training, second derivatives"):
        assert results[name].structures == 3
        assert set(results[name].worst) == {"energy", "forces", "stress"}
    limit = 1e-11 if dtype == "float64" else 1e-4
    assert max(w.value for result in found.results for w in result.worst.values()) < limit
    json.dumps(found.as_dict(), allow_nan=False)


def test_faults_are_found_where_they_show() -> None:
    """An energy that depends on the company in a batch, one that depends on edges beyond the cutoff."""

    def gregarious(system: System, geometry: Geometry) -> Energy:
        return Energy.of_atoms(system, torch.full((system.n_atoms,), 1e-4 * system.n_systems, dtype=torch.float64))

    def longsighted(system: System, geometry: Geometry) -> Energy:
        return Energy.of_atoms(system, 1e-3 * (geometry.graph.receiver_ptr.diff()).to(torch.float64))

    results = by_name(api.parity(copper(), with_fault(gregarious)))
    assert results["batched"].passed is False
    assert results["batched"].worst["energy"].value == pytest.approx(2e-4, rel=1e-3), "in a batch of three"
    assert results["batched"].worst["forces"].severity <= 1
    assert results["ASE calculator"].passed
    results = by_name(api.parity(copper(), with_fault(longsighted)))
    assert results["relaxation engine, skin in use"].passed is False
    assert results["batched"].passed


def test_a_path_of_ones_own_that_errs_raises_or_is_not_a_number_fails_alone() -> None:
    def with_wrong_sign(loaded: api.LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
        return [
            Asked(a.energy, a.forces, None if a.stress is None else -a.stress)
            for a in single(loaded, structures)
            if a is not None
        ]

    def lost(loaded: api.LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
        return [Asked(float("nan"), one.positions, None) for one in structures]

    def dies(loaded: api.LoadedModel, structures: Sequence[System]) -> list[Asked | None]:
        raise RuntimeError("out of cheese")

    found = api.parity(copper(), lennard_jones(), paths={"sign": with_wrong_sign, "lost": lost, "dies": dies})
    results = by_name(found)
    assert not found.passed
    assert {name for name, result in results.items() if result.passed is False} == {"sign", "lost", "dies"}
    assert results["sign"].worst["forces"].value == 0
    assert results["sign"].worst["stress"].severity > 1e3
    assert "out of cheese" in results["dies"].detail
    assert found.as_dict()["results"][-2]["worst"]["energy"]["value"] is None
    loose = api.parity(
        copper(), lennard_jones(), paths={"sign": with_wrong_sign}, tolerances=api.Tolerances(stress=9.0)
    )
    assert loose.passed


def test_plain_torch_is_another_computation_of_the_same_function() -> None:
    model = small(**NATIVE)
    if not model.native:
        pytest.skip("no compiled kernels here")
    plain = in_plain_torch(model)
    assert isinstance(model.trunk, MACETrunk), "the original is as it was"
    assert not plain.native
    torch.testing.assert_close(evaluate(plain, crystal())["forces"], evaluate(model, crystal())["forces"])
    model.trunk.radial_functions.register_forward_pre_hook(lambda *_: pytest.fail("not reached by kernels"))


def test_what_the_model_refuses_is_listed_and_options_are_checked() -> None:
    found = api.parity([crystal(), copper()[0]], small())
    assert found.passed
    assert list(found.refused) == [1]
    assert "Cu" in found.refused[1]
    with pytest.raises(GroundstateError, match="E-NOTHING-LEFT"):
        api.parity(copper(), small())
    with pytest.raises(GroundstateError, match="E-OPTION-RANGE"):
        api.Tolerances(energy=0.0)
    with pytest.raises(GroundstateError, match="E-PICKLE-TRUST"):
        original(Path("a.model"), sys.executable, trust_pickle=False)


def test_refusals_that_are_lifted_are_lifted_on_every_path() -> None:
    charged = cluster().replace(charge=torch.tensor([1.0], dtype=torch.float64))
    with pytest.raises(GroundstateError, match="E-NOTHING-LEFT"):
        api.parity(charged, small())
    found = api.parity(charged, small(), allow=Allowances(ignored_charge=True))
    assert found.passed
    assert by_name(found)["batched"].structures == 1


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint.save(small(dtype="float32"), tmp_path / "m.safetensors")
    write(tmp_path / "a.extxyz", [Record(crystal()), Record(cluster())])
    words = ["parity", str(tmp_path / "a.extxyz"), "--model", str(tmp_path / "m.safetensors")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--report", str(tmp_path / "p.html"), "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    twin = json.loads((tmp_path / "p.json").read_text())
    assert "paths give the numbers" in twin["lead"]
    assert [row[0] for row in twin["sections"][0]["rows"]] == list(every_way())
    with pytest.raises(SystemExit) as ended:
        main([*words, "--tolerance-forces", "1e-15"])
    assert ended.value.code == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_converted_checkpoint_beside_its_original(tmp_path: Path) -> None:
    """Needs MACE_PYTHON, an interpreter with mace-torch."""
    python = os.environ.get("MACE_PYTHON")
    if not python:
        pytest.skip("MACE_PYTHON is not set")
    root = Path(__file__).parents[2]
    subprocess.run([python, root / "tests" / "golden" / "make_mace_golden.py", tmp_path], check=True)
    file = next(tmp_path.glob("*small*.model"))
    loaded = api.convert("mace", file, tmp_path / "m.safetensors", trust_pickle=True, python=python)
    known = sorted(loaded.potential.domain.elements or ())
    atoms = to_ase(crystal())[0]
    atoms.numbers[:] = [known[0], known[-1], known[0]]
    way = original(file, python, trust_pickle=True)
    result = by_name(api.parity(atoms, loaded, paths={"original": way}))["original"]
    assert result.passed, result
