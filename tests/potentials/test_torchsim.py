"""TorchSim's border: its validation, statics, optimiser and integrator on our potentials give what ours give."""

import subprocess
import sys
import warnings
from typing import Any

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from groundstate import api
from groundstate.atoms import GroundstateError, System
from groundstate.data import from_ase
from groundstate.potentials import Potential, evaluate
from groundstate.simulation import MDConfig, RelaxConfig, relax, run_md
from small_mace import small
from toys import lennard_jones

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ts: Any = pytest.importorskip("torch_sim", reason="torch-sim is not installed")


def rattled(repeats: int, seed: int) -> Atoms:
    atoms = bulk("Cu", "fcc", 3.62).repeat(repeats)
    atoms.set_cell(atoms.cell.array @ [[1.01, 0.02, 0.0], [0.0, 0.99, 0.01], [0.0, 0.0, 1.0]], scale_atoms=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def state_of(atoms: list[Atoms]) -> Any:
    return ts.io.atoms_to_state(atoms, torch.device("cpu"), torch.float64)


def model(potential: Potential | None = None, **options: Any) -> Any:
    return api.load(potential or lennard_jones()).torchsim(**options)


def test_torchsim_says_it_is_a_model_of_its_own() -> None:
    from torch_sim.models.interface import validate_model_outputs

    validate_model_outputs(model(lennard_jones(sigma=2.0)), torch.device("cpu"), torch.float64)
    assert model().memory_scales_with == "n_atoms_x_density"


@pytest.mark.parametrize("mace", [False, True])
def test_statics_are_our_own_skewed_cells_and_all(mace: bool) -> None:
    """A skewed cell tells rows from columns, and a stress that is not symmetric in x and y tells the axes."""
    atoms = [rattled(2, 1), rattled(1, 2), rattled(3, 3)]
    if mace:
        for one in atoms:
            one.symbols[:] = "Si"
            one.set_cell(one.cell.array * 1.3, scale_atoms=True)
    potential = small() if mace else lennard_jones()
    found = ts.static(state_of(atoms), model(potential))
    for one, properties in zip(atoms, found, strict=True):
        expected = evaluate(potential, from_ase(one), ("energy", "forces", "stress"))
        torch.testing.assert_close(properties["potential_energy"], expected["energy"], rtol=1e-12, atol=1e-11)
        torch.testing.assert_close(properties["forces"], expected["forces"], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(properties["stress"], expected["stress"], rtol=1e-9, atol=1e-12)


def test_its_optimiser_ends_where_ours_does() -> None:
    atoms = [rattled(2, 1), rattled(1, 2)]
    end = ts.optimize(
        state_of(atoms),
        model(),
        optimizer=ts.frechet_cell_fire,
        convergence_fn=ts.generate_force_convergence_fn(force_tol=1e-4, include_cell_forces=True),
        autobatcher=False,
        max_steps=2000,
    )
    batch = System.batch([from_ase(one) for one in atoms])
    ours = relax(batch, lennard_jones(), RelaxConfig(cell="full", force_tolerance=1e-4, max_steps=2000))
    for energy, volume, result in zip(end.energy, torch.linalg.det(end.cell).abs(), ours, strict=True):
        assert result.energy is not None
        assert float(energy) == pytest.approx(result.energy, abs=1e-6)
        assert float(volume) == pytest.approx(float(result.system.volume[0]), rel=1e-4)


def test_its_integrator_moves_atoms_as_ours_does() -> None:
    """Velocity Verlet is one algorithm: from the same momenta 20 steps end at the same place (its amu, e differ)."""
    atoms = rattled(2, 1)
    system = from_ase(atoms)
    steps, timestep_fs = 20, 1.0
    velocities = torch.randn(system.n_atoms, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 1e-3
    velocities -= velocities.mean(dim=0)
    config = MDConfig(steps=steps, timestep_fs=timestep_fs, temperature_K=300.0, ensemble="nve")
    (ours,) = run_md(system, lennard_jones(), config, velocities=velocities)
    unit = float(ts.units.MetalUnits.time) * 1e-3
    init, update = ts.nve(model=model(), kT=torch.tensor(0.02), dt=torch.tensor(timestep_fs * unit))
    state = init(state_of([atoms]))
    state.momenta = velocities / unit * state.masses[:, None]
    for _ in range(steps):
        state = update(state)
    moved = (ours.system.positions - system.positions).abs().max()
    assert float(moved) > 1e-2
    apart = (state.positions - ours.system.positions) @ torch.linalg.inv(system.cell[0])  # torch-sim wraps positions
    torch.testing.assert_close(apart, apart.round(), rtol=0, atol=1e-6 * float(moved))


def test_a_structure_that_goes_bad_on_its_way_is_refused_by_its_place() -> None:
    door, state = model(), state_of([rattled(1, 2), rattled(2, 1)])
    door(state)
    state.positions[4] = state.positions[3] + 0.1
    with pytest.raises(GroundstateError, match="E-ATOMS-CLOSE") as refused:
        door(state)
    assert refused.value.frame == 1
    assert set(refused.value.atoms) == {2, 3}
    state.positions[0] = torch.nan
    with pytest.raises(GroundstateError, match="E-POSITION-NOT-FINITE"):
        door(state)


def test_refusals() -> None:
    broken = rattled(2, 1)
    broken.positions[3] = broken.positions[2] + 0.1
    with pytest.raises(GroundstateError, match="E-ATOMS-CLOSE"):
        ts.static(state_of([rattled(1, 2), broken]), model())
    with pytest.raises(GroundstateError, match="compute_stress=False"):
        ts.static(_open(molecule("H2O")), model(small()))
    with pytest.raises(GroundstateError, match="E-ELEMENT-UNSUPPORTED"):
        ts.static(state_of([rattled(1, 2)]), model(small()))
    with pytest.raises(GroundstateError, match="E-PRECISION"):
        model(dtype=torch.float16)


def _open(atoms: Atoms) -> Any:
    atoms.set_cell([20.0, 20.0, 20.0])
    state = state_of([atoms])
    state.pbc = False
    return state


def test_charge_and_theory_hold_for_every_structure_and_molecules_have_no_stress() -> None:
    potential = small(charge="needs", theories=2)
    state = _open(molecule("H2O"))
    with pytest.raises(GroundstateError, match="E-CONDITION-MISSING"):
        model(potential, compute_stress=False)(state)
    charged = model(potential, compute_stress=False, charge=1.0, theory=1)(state)
    system = from_ase(Atoms("OH2", state.positions.numpy()))
    system = system.replace(charge=torch.tensor([1.0], dtype=torch.float64), theory=torch.tensor([1]))
    assert set(charged) == {"energy", "forces"}
    torch.testing.assert_close(charged["energy"], evaluate(potential, system)["energy"])


def test_float32_states_get_float32_answers() -> None:
    found = model(dtype=torch.float32)(state_of([rattled(2, 1)]).to(dtype=torch.float32))
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_without_torchsim_the_door_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['torch_sim'] = None\n"
        "from groundstate.atoms import RunError\n"
        "try:\n    import groundstate.potentials.adapters.torchsim\n"
        "except RunError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "E-EXTRA-MISSING" in done.stdout
    assert "groundstate[torchsim]" in done.stdout
