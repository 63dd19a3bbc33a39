"""Analytic terms against known values, and what a potential promises whatever it is made of."""

import pytest
import torch

from groundstate.atoms import OptionError, System, UndefinedPropertyError
from groundstate.potentials import ZBL, Model, ReferenceEnergies, Sum, evaluate, hessian
from groundstate.potentials.derive import periodic_projector
from toys import fcc, lennard_jones

F64 = torch.float64


def repulsion() -> Model:
    return Model(None, {}, {"repulsion": ZBL()}, description={"kind": "zbl"})


def dimer(distance: float, first: int = 14, second: int = 14) -> System:
    return System.single([[0, 0, 0], [distance, 0, 0]], [first, second])


def test_zbl_reaches_the_bare_coulomb_law_at_contact() -> None:
    """E·r → Z₁Z₂ e²/4πε₀ = 14² · 14.39964 eV Å as r → 0."""
    distance = 1e-5
    energy = evaluate(repulsion(), dimer(distance), ("energy",))["energy"]
    assert float(energy) * distance == pytest.approx(14**2 * 14.399645, rel=1e-3)


def test_zbl_silicon_at_one_angstrom() -> None:
    """By hand: a = 0.8854·0.529177/(2·14^0.23) = 0.12766 Å, φ(7.833) = 0.023096…, switch at x = 1/2.22."""
    x = 1.0 / (0.8854 * 0.529177210903 / (2 * 14**0.23))
    phi = sum(
        c * 2.718281828459045 ** (-d * x)
        for c, d in [(0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162)]
    )
    u = 1.0 / 2.22
    switch = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8
    expected = 14**2 * 14.399645 * phi * switch
    assert float(evaluate(repulsion(), dimer(1.0), ("energy",))["energy"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("pair", [(1, 1), (1, 92), (8, 12), (55, 55)])
def test_zbl_falls_monotonically_and_ends_smoothly_at_bonding_distance(pair: tuple[int, int]) -> None:
    radii = ZBL().get_buffer("radii")
    reach = float(radii[pair[0]] + radii[pair[1]])
    inside = [
        evaluate(repulsion(), dimer(f * reach, *pair), ("forces",))["forces"][1, 0]
        for f in torch.linspace(0.05, 0.99, 40).tolist()
    ]
    assert all(float(force) > 0 for force in inside)
    end = evaluate(repulsion(), dimer(reach * (1 - 1e-9), *pair), ("energy", "forces"))
    assert float(end["energy"].abs().max()) < 1e-9
    assert float(end["forces"].abs().max()) < 1e-6


def test_zbl_begins_where_the_data_end_and_no_further_out_than_a_bond() -> None:
    term = ZBL([1, 6, 8], shortest=0.6)
    model = Model(None, {}, {"repulsion": term}, description={"kind": "zbl"})
    radii = term.get_buffer("radii")
    first, second = torch.tensor([6, 8, 6, 1]), torch.tensor([8, 6, 6, 1])
    sums = radii[first] + radii[second]
    assert torch.equal(term.ranges(first, second), sums)  # nothing told: as if it were not asked to know
    nearest = torch.full((119, 119), torch.inf, dtype=F64)
    nearest[6, 8] = nearest[8, 6] = 1.18
    nearest[8, 8], nearest[1, 1] = 2.1, 0.2
    assert term.taught is not None
    term.taught.know(nearest)
    carbonyl, oxygens = 0.97 * 1.18 / sums[0], 1.0
    methyl = carbonyl  # never met: as carbon usually does, which is more careful than hydrogen
    first, second = torch.tensor([6, 8, 8, 6, 6, 1]), torch.tensor([8, 6, 8, 6, 1, 1])
    expected = torch.tensor([carbonyl, carbonyl, oxygens, carbonyl, methyl, 0.6], dtype=F64)
    torch.testing.assert_close(term.ranges(first, second) / (radii[first] + radii[second]), expected)
    alone = ZBL([1, 2], shortest=0.6)
    assert alone.taught is not None
    alone.taught.know(torch.full((119, 119), torch.inf, dtype=F64))  # isolated atoms
    helium = torch.tensor([2])
    assert torch.equal(alone.ranges(helium, helium), 2 * radii[helium])
    pairs = System.batch([dimer(r, 6, 8) for r in (1.3, 1.18, 1.13, 1.0, 0.5)])
    said = evaluate(model, pairs, ("energy", "forces"))
    assert said["energy"][:2].tolist() == [0.0, 0.0]
    assert not said["forces"][:4].any()
    pushes = said["forces"][5::2, 0]
    assert (pushes > 0).all()
    assert (pushes.diff() > 0).all()
    assert float(evaluate(repulsion(), dimer(1.18, 6, 8), ("forces",))["forces"][1, 0]) > 1.0  # the reason for it


def test_reference_energies_by_level_of_theory() -> None:
    references = Model(
        None, {}, {"e0": ReferenceEnergies([{1: -1.0, 8: -5.0}, {1: -2.0, 8: -7.0}])}, description={"kind": "e0"}
    )
    water = System.single([[0, 0, 0], [0, 0.8, 0.5], [0, -0.8, 0.5]], [8, 1, 1])
    batch = System.batch([water.replace(theory=torch.tensor([0])), water.replace(theory=torch.tensor([1]))])
    with pytest.raises(OptionError, match="E-CUTOFF"):
        evaluate(references, batch, ("energy",))  # a potential without a single neighbour term has no geometry
    both = Sum([references, lennard_jones(epsilon=0.0)])
    assert evaluate(both, batch, ("energy",))["energy"].tolist() == [-7.0, -11.0]
    assert evaluate(both, water, ("energy",))["energy"].tolist() == [-7.0]


def test_energies_add() -> None:
    a, b, system = lennard_jones(), lennard_jones(epsilon=0.1, sigma=2.0), fcc()
    want = ("energy", "energies", "forces", "stress", "stresses")
    total, first, second = (evaluate(p, system, want) for p in (Sum([a, b]), a, b))
    for name in want:
        torch.testing.assert_close(total[name], first[name] + second[name])
    assert Sum([a, b]).fingerprint() != Sum([b, a]).fingerprint() != a.fingerprint()
    with pytest.raises(OptionError, match="E-SUM-EMPTY"):
        Sum([])


def test_partitions_sum_to_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    system = fcc()
    system = system.replace(positions=system.positions + 0.1 * torch.randn(4, 3, generator=generator, dtype=F64))
    found = evaluate(lennard_jones(), system, ("energy", "energies", "stress", "stresses"))
    torch.testing.assert_close(found["energies"].sum(0, keepdim=True), found["energy"])
    torch.testing.assert_close(found["stresses"].sum(0, keepdim=True), found["stress"])
    assert float(found["stress"].abs().max()) > 1e-4


def test_hessian_by_differences_equals_the_oracle() -> None:
    generator = torch.Generator().manual_seed(0)
    system = fcc()
    system = system.replace(positions=system.positions + 0.05 * torch.randn(4, 3, generator=generator, dtype=F64))
    exact = hessian(lennard_jones(), system, method="autograd")
    differences = hessian(lennard_jones(), system, displacement=1e-3)
    torch.testing.assert_close(differences, exact, atol=1e-4, rtol=0)
    assert float(exact.abs().max()) > 1.0
    rigid = exact.reshape(12, 4, 3).sum(1)
    assert float(rigid.abs().max()) < 1e-9, "a rigid translation costs no energy"


def test_a_molecule_and_a_slab_without_thickness_have_no_stress() -> None:
    water = System.single([[0, 0, 0], [2.0, 0, 0]], [8, 8])
    slab = System.single([[0.0, 0, 0]], [29], cell=[[2.5, 0, 0], [0, 2.5, 0], [0, 0, 0]], pbc=(True, True, False))
    for system in (water, slab):
        with pytest.raises(UndefinedPropertyError, match="E-PROPERTY-UNDEFINED"):
            evaluate(lennard_jones(), system, ("stress",))
    assert float(evaluate(lennard_jones(), water, ("strain_gradient",))["strain_gradient"].abs().max()) == 0.0
    gradient = evaluate(lennard_jones(), slab, ("strain_gradient",))["strain_gradient"][0]
    assert float(gradient[:2, :2].abs().max()) > 1e-3
    assert float(gradient[2].abs().max()) == 0.0


def test_slab_stress_times_height_does_not_depend_on_the_vacuum() -> None:
    def slab(height: float) -> System:
        cell = [[2.5, 0, 0], [0, 2.5, 0], [0.4, 0.3, height]]
        return System.single([[0, 0, 0], [1.2, 1.3, 1.8]], [29, 29], cell=cell, pbc=(True, True, False))

    lines = [evaluate(lennard_jones(), slab(h), ("stress",))["stress"][0] * h for h in (10.0, 40.0)]
    torch.testing.assert_close(lines[0], lines[1])


def test_unknown_and_missing_quantities_are_refused_by_name() -> None:
    with pytest.raises(UndefinedPropertyError, match="magnetic_moments"):
        evaluate(lennard_jones(), fcc(), ("magnetic_moments",))
    with pytest.raises(UndefinedPropertyError, match="Did you mean 'forces'"):
        evaluate(lennard_jones(), fcc(), ("force",))


def test_projector_spans_the_periodic_vectors() -> None:
    oblique = System.single([[0.0, 0, 0]], [1], cell=[[1, 1, 0], [0, 1, 0], [5, 5, 5]], pbc=(True, True, False))
    torch.testing.assert_close(periodic_projector(oblique)[0], torch.diag(torch.tensor([1.0, 1, 0], dtype=F64)))
    chain = System.single([[0.0, 0, 0]], [1], cell=[[1, 1, 0], [0, 0, 0], [0, 0, 0]], pbc=(True, False, False))
    torch.testing.assert_close(periodic_projector(chain)[0, :2, :2], torch.full((2, 2), 0.5, dtype=F64))
