"""Forces and stresses that do not belong to their energies are found, and named for what they are."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from groundstate.atoms.units import BOHR, GIGAPASCAL, HARTREE, KILOBAR
from groundstate.data import Record
from groundstate.data.lint import Examination, examine
from groundstate.data.lint.slopes import KCAL
from labelled_crystals import labelled, rattled, relabelled

FIXED = labelled(rattled(24, seed=1, amplitude=0.02))
STRAINED = labelled(rattled(24, seed=2, amplitude=0.01, strain=0.01))


def of(examination: Examination, check: str) -> tuple[str, list[str]]:
    """Verdict of a check and the codes of its findings."""
    (one,) = [one for one in examination.checks if one.check.startswith(check)]
    return one.verdict, [finding.code for finding in one.findings]


def test_right_labels_pass() -> None:
    assert of(examine(FIXED), "forces") == ("pass", [])
    both = examine(STRAINED)
    assert of(both, "stress") == ("pass", [])
    assert both.findings == ()


def test_forces_where_no_two_cells_are_the_same() -> None:
    """As along a trajectory at constant pressure."""
    moving = labelled(rattled(30, seed=4, amplitude=0.03, strain=0.0005))
    assert of(examine(moving), "forces") == ("pass", [])
    turned = examine(relabelled(moving, "forces", lambda _, forces: -forces))
    assert of(turned, "forces") == ("error", ["L-FORCE-SIGN"])


def test_without_neighbouring_frames_nothing_is_said_to_be_right() -> None:
    examination = examine(labelled(rattled(8, seed=3, amplitude=0.6)))
    assert of(examination, "forces")[0] == "not checked"
    assert of(examination, "stress")[0] == "not checked"
    bare = examine([replace(record, labels={"energy": record.labels["energy"]}) for record in FIXED])
    assert of(bare, "forces")[0] == of(bare, "stress")[0] == "not checked"


@pytest.mark.parametrize(
    ("factor", "code", "words"),
    [
        (-1.0, "L-FORCE-SIGN", "opposite sign"),
        (BOHR / HARTREE, "L-FORCE-SCALE", "Hartree/bohr"),
        (-2 * BOHR / HARTREE, "L-FORCE-SCALE", "forces in Rydberg/bohr"),
        (1 / KCAL, "L-FORCE-SCALE", "kcal/mol/Å"),
        (2.0, "L-FORCE-SCALE", "forces doubled"),
        (7.0, "L-FORCE-SCALE", "no factor of units known"),
    ],
)
def test_scaled_forces(factor: float, code: str, words: str) -> None:
    examination = examine(relabelled(FIXED, "forces", lambda _, forces: factor * forces))
    assert of(examination, "forces") == ("error", [code])
    (finding,) = [finding for finding in examination.findings if finding.code == code]
    assert words in finding.what
    assert finding.numbers["slope"] == pytest.approx(1 / factor, rel=0.1)


def test_energies_in_another_unit_than_forces() -> None:
    per_atom = examine(relabelled(FIXED, "energy", lambda record, energy: energy / record.n_atoms))
    (finding,) = [finding for finding in per_atom.findings if finding.code == "L-FORCE-SCALE"]
    assert "per atom" in finding.what
    hartree = examine(relabelled(FIXED, "energy", lambda _, energy: energy / HARTREE))
    assert any("energies in Hartree" in finding.what for finding in hartree.findings)


def test_forces_of_other_frames() -> None:
    shuffled = [
        replace(record, labels={**record.labels, "forces": other.labels["forces"]})
        for record, other in zip(FIXED, FIXED[5:] + FIXED[:5], strict=True)
    ]
    assert of(examine(shuffled), "forces") == ("error", ["L-FORCE-UNRELATED"])


def test_a_few_frames_with_turned_forces() -> None:
    spoilt = [relabelled([r], "forces", lambda _, f: -f)[0] if i in (3, 17) else r for i, r in enumerate(FIXED)]
    (finding,) = examine(spoilt).findings
    assert (finding.code, finding.frames) == ("L-FORCE-SIGN", (3, 17))


def test_a_few_frames_with_another_energy() -> None:
    spoilt = [relabelled([r], "energy", lambda _, e: e + 3.2)[0] if i in (5, 11) else r for i, r in enumerate(FIXED)]
    (finding,) = [finding for finding in examine(spoilt).findings if finding.code == "L-ENERGY-FRAME"]
    assert set(finding.frames) == {5, 11}
    assert finding.numbers["median_eV_per_atom"] == pytest.approx(0.1, rel=0.05)


def order(*components: tuple[int, int]) -> Callable[[Record, torch.Tensor], torch.Tensor]:
    """Off-diagonal components yz, xz, xy taken from other places."""

    def change(_: Record, stress: torch.Tensor) -> torch.Tensor:
        turned = torch.diag(torch.diagonal(stress))
        for (i, j), source in zip(((1, 2), (0, 2), (0, 1)), components, strict=True):
            turned[i, j] = turned[j, i] = stress[source]
        return turned

    return change


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda _, s: -s, "L-STRESS-SIGN", "opposite sign"),
        (lambda _, s: s / GIGAPASCAL, "L-STRESS-SCALE", "stress in GPa"),
        (lambda _, s: -s / KILOBAR, "L-STRESS-SCALE", "the opposite sign, stress in kbar"),
        (lambda r, s: -s * r.system.volume[0], "L-STRESS-SCALE", "virial, −V·σ"),
        (lambda r, s: s * r.system.volume[0], "L-STRESS-SCALE", "labelled as V·σ"),
        (order((0, 1), (1, 2), (0, 2)), "L-STRESS-ORDER", "VASP's order"),
        (order((0, 2), (1, 2), (0, 1)), "L-STRESS-ORDER", "yz and xz exchanged"),
    ],
)
def test_stress_of_another_convention(
    change: Callable[[Record, torch.Tensor], torch.Tensor], code: str, words: str
) -> None:
    examination = examine(relabelled(STRAINED, "stress", change))
    verdict, codes = of(examination, "stress")
    assert (verdict, codes) == ("error", [code])
    assert any(words in finding.what for finding in examination.findings)


def test_an_enthalpy_as_energy() -> None:
    pressed = relabelled(STRAINED, "energy", lambda r, e: e + 20 * GIGAPASCAL * r.system.volume[0])
    (finding,) = [finding for finding in examine(pressed).findings if finding.code == "L-ENTHALPY"]
    assert finding.numbers["pressure_GPa"] == pytest.approx(20.0, rel=0.05)
