"""CHGNet behind our interface: the authors' numbers, and what their code does not promise."""

from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.spacegroup import crystal
from torch import Tensor

from groundstate import zoo
from groundstate.atoms import Geometry, ModelError, RunError, System, check
from groundstate.data import from_ase
from groundstate.potentials import Potential, Sum, evaluate, hessian
from groundstate.zoo.chgnet import potential as module
from toys import lennard_jones

pytestmark = pytest.mark.usefixtures("needs_chgnet")
WANT = ("energy", "energies", "forces", "stress", "magnetic_moments")


@pytest.fixture(scope="module")
def single() -> Potential:
    return zoo.load("chgnet")


@pytest.fixture(scope="module")
def double() -> Potential:
    return zoo.load("chgnet", precision="float64")


def _perovskite() -> ase.Atoms:
    return crystal(
        ["Sr", "Ti", "O"],
        [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)],
        spacegroup=221,
        cellpar=[3.905, 3.905, 3.905, 90, 90, 90],
    )


def _rattled() -> ase.Atoms:
    atoms = bulk("NiO", "rocksalt", a=4.18, cubic=True).repeat((2, 1, 1))
    atoms.rattle(0.1, seed=3)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * np.random.default_rng(4).normal(size=(3, 3))), True)
    return atoms


STRUCTURES = {
    "magnesia": lambda: bulk("MgO", "rocksalt", a=4.21),
    "perovskite": _perovskite,
    "silicon": lambda: bulk("Si", a=5.43),
    "one atom, its own neighbour": lambda: bulk("Fe", a=2.87),
    "no angles": lambda: bulk("Kr", a=5.7),
    "thin and skewed": lambda: ase.Atoms(
        "TiO",
        cell=[[2.4, 0, 0], [1.1, 9.0, 0], [-3.0, 0.7, 4.1]],
        scaled_positions=[[0.1, 0.2, 0.3], [0.5, 0.4, 0.8]],
        pbc=True,
    ),
    "outside its cell": lambda: ase.Atoms(
        "CsCl", cell=[4.1] * 3, positions=[[-7.0, 0.1, 0.2], [14.2, 2.0, 2.1]], pbc=True
    ),
    "rattled supercell": _rattled,
}


def _batch(frames: list[ase.Atoms]) -> System:
    return System.batch([from_ase(atoms) for atoms in frames])


def _largest_differences(
    potential: Potential, frames: list[ase.Atoms], reference: Any, per_batch: int = 16
) -> dict[str, float]:
    largest = dict.fromkeys(WANT, 0.0)
    for start in range(0, len(frames), per_batch):
        part = frames[start : start + per_batch]
        system = _batch(part)
        ours = evaluate(potential, system, WANT)
        for index, atoms in enumerate(part):
            theirs = reference(atoms)
            mine = slice(int(system.system_ptr[index]), int(system.system_ptr[index + 1]))
            rows = {"energy": index, "stress": index}
            for name in WANT:
                found = ours[name][rows.get(name, mine)].numpy()
                scale = len(atoms) if name == "energy" else 1
                largest[name] = max(largest[name], float(np.abs(found - theirs[name]).max()) / scale)
    return largest


@pytest.mark.parametrize("name", STRUCTURES)
def test_equals_the_authors_calculator(single: Potential, published: Any, name: str) -> None:
    worst = _largest_differences(single, [STRUCTURES[name]()], published)
    assert worst["energy"] < 1e-5  # eV/atom
    assert worst["energies"] < 1e-4
    assert worst["forces"] < 1e-3
    assert worst["stress"] < 1e-4
    assert worst["magnetic_moments"] < 1e-4


def test_one_batch_of_all_equals_the_authors_code_in_float64(double: Potential, published_float64: Any) -> None:
    worst = _largest_differences(double, [make() for make in STRUCTURES.values()], published_float64)
    # Their reference energies stay float32: eight digits of the energy, no derivative.
    assert worst["energy"] < 2e-6
    assert worst["energies"] < 2e-6
    assert worst["forces"] < 1e-6
    assert worst["stress"] < 1e-8
    assert worst["magnetic_moments"] < 1e-7


@pytest.mark.parametrize(("count", "skip"), [(8, 7), pytest.param(200, 5, marks=pytest.mark.slow)])
def test_equals_the_authors_code_on_training_frames(
    double: Potential, published_float64: Any, mptrj_file: Path, count: int, skip: int
) -> None:
    frames = ase.io.read(mptrj_file, f":{count * skip}:{skip}")
    frames = [atoms for atoms in frames if len(atoms) <= 60]
    worst = _largest_differences(double, frames, published_float64)
    assert worst["energy"] < 1e-5
    assert worst["forces"] < 1e-5
    assert worst["stress"] < 1e-7
    assert worst["magnetic_moments"] < 1e-6


@pytest.mark.slow
def test_single_precision_rounds_forces_below_half_a_meV(
    single: Potential, double: Potential, mptrj_file: Path
) -> None:
    system = _batch(ase.io.read(mptrj_file, ":100:2"))
    exact, rounded = (evaluate(potential, system, ("forces",))["forces"] for potential in (double, single))
    assert float((exact - rounded).abs().max()) < 5e-4


def _left_handed() -> System:
    atoms = _perovskite()
    atoms.rattle(0.08, seed=1)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]], scale_atoms=False)
    return from_ase(atoms)


def _slab() -> System:
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.rattle(0.08, seed=2)
    atoms.pbc = (True, True, False)
    atoms.cell[2] = 0
    return from_ase(atoms)


def _water() -> System:
    return from_ase(molecule("H2O"))


def _wire() -> System:
    atoms = ase.Atoms("CuO", positions=[[0, 0, 0], [1.2, 1.1, 0.3]], cell=[2.9, 0, 0], pbc=(True, False, False))
    return from_ase(atoms)


@pytest.mark.parametrize("make", [_left_handed, _slab, _water, _wire])
def test_derivatives_equal_finite_differences_in_every_periodicity(double: Potential, make: Any) -> None:
    system = make()
    check(system, double.domain)
    found = evaluate(double, system, ("forces", "strain_gradient"))
    step = 1e-5
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(system.positions.shape, generator=generator, dtype=torch.float64)
    along = _slope(lambda s: system.replace(positions=system.positions + s * direction), double, step)
    assert along == pytest.approx(-float((found["forces"] * direction).sum()), abs=1e-6)
    strain = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    strain = strain + strain.T
    periodic = system.pbc[0].to(torch.float64)
    strain = strain * periodic[:, None] * periodic[None, :]  # the open directions here are Cartesian
    along = _slope(lambda s: _strained(system, s * strain), double, step)
    assert along == pytest.approx(float((found["strain_gradient"][0] * strain).sum()), abs=1e-6)


def _slope(at: Any, potential: Potential, step: float) -> float:
    """Central difference with an error of fourth order in the step."""
    energies = [float(evaluate(potential, at(s * step), ("energy",))["energy"]) for s in (-2, -1, 1, 2)]
    return (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)


def _strained(system: System, strain: Tensor) -> System:
    deformation = torch.eye(3, dtype=torch.float64) + strain
    return system.replace(positions=system.positions @ deformation, cell=system.cell @ deformation)


def test_handedness_of_the_cell_changes_nothing(double: Potential) -> None:
    left = _left_handed()
    right = left.replace(cell=left.cell[:, [1, 0, 2]])
    ours = [evaluate(double, system, ("energy", "forces", "stress")) for system in (left, right)]
    for name in ours[0]:
        torch.testing.assert_close(ours[0][name], ours[1][name], rtol=0, atol=1e-9)


def test_per_atom_values_sum_to_the_whole(double: Potential) -> None:
    system = _batch([_rattled(), _perovskite()])
    found = evaluate(double, system, ("energy", "energies", "stress", "stresses"))
    torch.testing.assert_close(system.sum_over_atoms(found["energies"]), found["energy"])
    torch.testing.assert_close(system.sum_over_atoms(found["stresses"]), found["stress"], rtol=0, atol=1e-9)


def test_an_atom_without_neighbours_is_the_limit_of_pulling_it_away(double: Potential) -> None:
    def pair(distance: float) -> System:
        return System.single([[0, 0, 0], [distance, 0, 0]], [3, 17])

    apart = evaluate(double, pair(50.0), ("energy", "forces"))
    assert torch.equal(apart["forces"], torch.zeros(2, 3, dtype=torch.float64))
    alone = sum(float(evaluate(double, System.single([[0, 0, 0]], [z]), ("energy",))["energy"]) for z in (3, 17))
    assert float(apart["energy"]) == pytest.approx(alone, abs=1e-9)
    for distance in (5.99, 6.01):
        assert float(evaluate(double, pair(distance), ("energy",))["energy"]) == pytest.approx(alone, abs=1e-4)


def test_second_derivatives_by_autograd_equal_differences_of_forces(double: Potential) -> None:
    exact = hessian(double, _water(), method="autograd")
    differences = hessian(double, _water(), displacement=1e-4)
    assert float(exact.abs().max()) > 10
    torch.testing.assert_close(exact, differences, rtol=0, atol=5e-3)


def test_forces_can_be_differentiated_for_training(double: Potential) -> None:
    """The plain way through autograd, which a loss on forces takes, gives the forces of the fast way."""
    system = _left_handed()
    fast = evaluate(double, system, ("forces", "stress"))
    kept = evaluate(double, system, ("forces", "stress"), differentiable=True)
    for name in fast:
        assert kept[name].requires_grad
        torch.testing.assert_close(kept[name].detach(), fast[name], rtol=0, atol=1e-10)


def test_weights_are_constants_and_not_parameters(single: Potential) -> None:
    assert len(single.state_dict()) == 0
    assert list(single.parameters()) == []
    described = single.describe()
    assert described["weights_sha256"] == zoo.resolve("chgnet").weights_sha256
    assert single.fingerprint() == zoo.load("chgnet-0.3.0").fingerprint()
    assert single.fingerprint() != zoo.load("chgnet", precision="float64").fingerprint()


def test_elements_that_were_never_trained_are_refused(single: Potential) -> None:
    assert len(single.domain.elements or ()) == 89
    polonium = from_ase(bulk("Po", "sc", a=3.35))
    with pytest.raises(ModelError, match="E-ELEMENT-UNSUPPORTED"):
        check(polonium, single.domain)


def test_untrained_elements_are_those_left_at_their_initial_values(single: module.CHGNet) -> None:
    """Training multiplies the size of an embedding; those still near √64 were never touched."""
    sizes = torch.linalg.vector_norm(single._weights["atom_embedding.embedding.weight"], dim=1)
    touched = {z + 1 for z in (sizes > 10).nonzero()[:, 0].tolist()}
    assert touched == single.domain.elements


def test_a_sum_with_a_correction_adds(single: Potential) -> None:
    system = from_ase(bulk("Cu", a=3.6))
    both = evaluate(Sum([single, lennard_jones()]), system, ("energy", "magnetic_moments"))
    parts = [evaluate(part, system, ("energy",))["energy"] for part in (single, lennard_jones())]
    torch.testing.assert_close(both["energy"], parts[0] + parts[1])


def test_the_pass_keeps_nothing_of_the_structure(single: Potential) -> None:
    first, second = from_ase(bulk("MgO", "rocksalt", a=4.21)), from_ase(_perovskite())
    before = single(first, Geometry.of(first, single.cutoff)).energy.per_system
    single(second, Geometry.of(second, single.cutoff))
    assert torch.equal(single(first, Geometry.of(first, single.cutoff)).energy.per_system, before)


def test_a_missing_package_names_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"E-EXTRA-MISSING.*[Pp]ip install 'groundstate\[chgnet\]'"):
        zoo.load("chgnet")


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / zoo.resolve("chgnet").weights.files[0].name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not the published weights")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path / "chgnet")]})
    monkeypatch.setattr(module, "find_spec", lambda name: spec)
    with pytest.raises(ModelError, match="E-WEIGHTS"):
        zoo.load("chgnet")


def test_a_card_knows_what_results_will_be_recorded_as(single: Potential, double: Potential) -> None:
    assert zoo.recorded_as("chgnet") == {"float32": single.fingerprint(), "float64": double.fingerprint()}
