"""Every structure ends honestly, and none harms the others."""

import pytest
import torch

from groundstate.atoms import Domain, Geometry, OptionError, System
from groundstate.potentials import Model, Potential
from groundstate.simulation import RelaxConfig, relax
from groundstate.simulation.relaxation.minimise import NO_PROGRESS
from toys import fcc, lennard_jones

CONFIG = RelaxConfig(force_tolerance=0.03, cell="full", max_steps=300)


def bad_batch(crystal) -> tuple[list[System], dict[int, tuple[str, str]]]:
    """Eight structures, five of them bad in different ways, and what must become of those."""
    nan = fcc().replace(positions=fcc().positions.clone().index_fill(0, torch.tensor([2]), torch.nan))
    overlap = fcc()
    overlap.positions[1] = overlap.positions[0] + 0.05
    gold, silver, iron = (fcc(number, 3.9) for number in (79, 47, 26))
    shifted = iron.positions.clone()
    shifted[1] -= 0.35
    batch = [crystal(1), nan, crystal(2), overlap, gold, silver, crystal(3), iron.replace(positions=shifted)]
    fates = {
        1: ("invalid", "E-POSITION-NOT-FINITE"),
        3: ("invalid", "E-ATOMS-CLOSE"),
        4: ("diverged", "E-RESULT-NOT-FINITE"),
        5: ("diverged", "E-RELAX-DIVERGED"),
        7: ("diverged", "E-RELAX-DIVERGED"),
    }
    return batch, fates


def test_five_bad_structures_of_eight_change_nothing_for_the_other_three(faulty, crystal):
    batch, fates = bad_batch(crystal)
    results = relax(System.batch(batch), faulty, CONFIG)
    for k, result in enumerate(results):
        if k in fates:
            assert (result.status, result.code) == fates[k], result.reason
            assert result.reason
            continue
        alone = relax(batch[k], faulty, CONFIG)[0]
        assert result.converged
        assert result.steps == alone.steps
        assert result.energy == pytest.approx(alone.energy, abs=1e-10)
        torch.testing.assert_close(result.system.positions, alone.system.positions, rtol=0, atol=1e-9)


def test_the_last_good_frame_of_what_diverged_is_kept(faulty, crystal):
    batch, _ = bad_batch(crystal)
    gold, silver = relax(System.batch([batch[4], batch[5]]), faulty, CONFIG)
    assert gold.energy is None
    assert gold.forces is None
    assert torch.equal(gold.system.positions, batch[4].positions)
    assert "volume" in silver.reason
    assert 1.5 < silver.volume_ratio <= CONFIG.max_volume_change
    assert torch.isfinite(silver.system.positions).all()
    assert silver.energy is not None


def test_a_bad_structure_costs_few_evaluations(faulty, crystal):
    """The run-away ends by its retreats, long before the steps are used up."""
    batch, _ = bad_batch(crystal)
    assert relax(batch[5], faulty, CONFIG)[0].steps < CONFIG.max_steps / 2


def test_max_steps_reports_the_last_frame(potential, crystal):
    result = relax(crystal(1), potential, RelaxConfig(force_tolerance=1e-6, max_steps=5))[0]
    assert (result.status, result.code, result.steps) == ("max_steps", "E-RELAX-STEPS", 5)
    assert result.max_force > 1e-6
    assert not result.converged


class Rounded(Potential):
    """The toy potential as float32 would see it, coarser: positions are rounded to 10⁻⁴ Å, forces are those there."""

    domain, cutoff, theories = Domain(), 6.0, ()

    def __init__(self) -> None:
        super().__init__()
        self.inner = lennard_jones()
        self.weight = torch.nn.Parameter(torch.ones(1, dtype=torch.float32))

    def describe(self):
        return {"kind": "toy-rounded"}

    def forward(self, system, geometry):
        exact = system.positions
        rounded = system.replace(positions=exact + (exact.round(decimals=4) - exact).detach())
        return self.inner(rounded, Geometry(rounded, geometry.graph))


def test_forces_below_the_noise_of_float32_are_explained(molecule):
    config = RelaxConfig(force_tolerance=1e-8, max_steps=NO_PROGRESS + 80)
    result = relax(molecule, Rounded(), config)[0]
    assert result.status == "max_steps"
    assert any("float32" in note for note in result.notes)


def test_a_molecule_has_no_cell_to_relax(potential, molecule, crystal):
    with pytest.raises(OptionError) as refusal:
        relax(molecule, potential, CONFIG)
    assert refusal.value.code == "E-CELL-NOT-PERIODIC"
    mixed = relax(System.batch([molecule, crystal(1)]), potential, CONFIG)
    assert [(r.status, r.code) for r in mixed] == [("invalid", "E-CELL-NOT-PERIODIC"), ("converged", "")]


def test_options_that_one_structure_cannot_meet_refuse_that_one(potential, slab, crystal):
    batch = System.batch([slab, crystal(1)])
    pressed = relax(batch, potential, RelaxConfig(force_tolerance=0.05, cell="full", pressure_GPa=1.0))
    assert [r.code for r in pressed] == ["E-PRESSURE", ""]
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    tilted = slab.replace(positions=slab.positions @ turn, cell=slab.cell @ turn)
    mask = ((True, False, False), (False, True, False), (False, False, True))
    masked = relax(tilted, potential, RelaxConfig(cell="full", cell_mask=mask))
    assert masked[0].code == "E-CELL-MASK"
    held = torch.ones(crystal(1).n_atoms, dtype=torch.bool)
    assert relax(crystal(1), potential, RelaxConfig(), fixed_atoms=held)[0].code == "E-ALL-FIXED"
    with pytest.raises(OptionError, match="E-FIXED-ATOMS"):
        relax(crystal(1), potential, RelaxConfig(), fixed_atoms=held[:2])


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"cell": "ful"}, "E-OPTION-UNKNOWN"),
        ({"force_tolerance": 0.0}, "E-OPTION-RANGE"),
        ({"force_tolerance": float("nan")}, "E-OPTION-RANGE"),
        ({"max_steps": 0}, "E-OPTION-RANGE"),
        ({"max_step": 5.0}, "E-OPTION-RANGE"),
        ({"max_volume_change": 1.0}, "E-OPTION-RANGE"),
        ({"skin": -1.0}, "E-OPTION-RANGE"),
        ({"max_atoms_per_batch": 0}, "E-OPTION-RANGE"),
        ({"pressure_GPa": 1e6, "cell": "full"}, "E-OPTION-RANGE"),
        ({"pressure_GPa": 1.0}, "E-OPTION-CONFLICT"),
        ({"cell_mask": ((True,) * 3,) * 3}, "E-OPTION-CONFLICT"),
        ({"cell": "full", "cell_mask": ((False,) * 3,) * 3}, "E-CELL-MASK"),
        ({"cell": "full", "cell_mask": ((True, True, True), (False,) * 3, (False,) * 3)}, "E-CELL-MASK"),
    ],
)
def test_bad_options_are_refused_before_anything_starts(options, code):
    with pytest.raises(OptionError) as refusal:
        RelaxConfig(**options)
    assert refusal.value.code == code


def test_allowed_close_atoms_are_still_judged_at_the_end(crystal):
    """A potential whose minimum lies inside the forbidden distance never yields a converged structure."""
    inside = Model(None, {}, {"pair": lennard_jones(sigma=0.6, cutoff=3.0).terms["pair"]}, description={"kind": "toy"})
    pair = System.single([[0, 0, 0], [1.2, 0, 0]], [29, 29])
    result = relax(pair, inside, RelaxConfig(max_steps=500))[0]
    assert (result.status, result.code) == ("diverged", "E-ATOMS-CLOSE")
