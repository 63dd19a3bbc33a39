"""Models that come with the package: loaded by name, checked against their cards, refused when damaged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from groundstate import zoo
from groundstate.atoms import ModelError, System
from groundstate.atoms.elements import element
from groundstate.potentials import evaluate
from groundstate.zoo import shipped
from groundstate.zoo.catalogue import Weights, WeightsFile

OURS = [card for card in zoo.cards().values() if card.family == "groundstate"]
MGO = System.single(
    [[0.0, 0, 0], [2.1, 2.1, 2.15]], [12, 8], cell=[[0, 2.1, 2.1], [2.1, 0, 2.1], [2.1, 2.1, 0]], pbc=(True,) * 3
)


@pytest.mark.parametrize("card", OURS, ids=lambda card: card.key)
def test_a_card_says_what_its_file_holds(card: zoo.Card) -> None:
    potential = zoo.load(card.key)
    assert potential.domain.elements == card.elements
    assert potential.cutoff == card.cutoff
    assert sum(p.numel() for p in potential.parameters()) == card.parameters
    assert zoo.recorded_as(card.key)["float32"] == potential.fingerprint()
    assert zoo.state(card).ready


@pytest.mark.parametrize("card", OURS, ids=lambda card: card.key)
def test_both_precisions_are_one_model(card: zoo.Card) -> None:
    single, double = (evaluate(zoo.load(card.key, precision=p), MGO) for p in ("float32", "float64"))
    assert torch.allclose(single["energy"], double["energy"], atol=1e-5)
    assert torch.allclose(single["forces"], double["forces"], atol=1e-5)
    assert not torch.equal(single["energy"], double["energy"])


@pytest.mark.parametrize("card", OURS, ids=lambda card: card.key)
def test_no_two_elements_fall_into_each_other(card: zoo.Card) -> None:
    """All pairs, where the law of repulsion tries a few: on approach the energy rises, as far in as half a bond."""
    potential, elements, points = zoo.load(card.key), sorted(card.elements), 8
    for index, first in enumerate(elements):
        sums = [element(first).covalent_radius + element(second).covalent_radius for second in elements[index:]]
        dimers = [
            System.single([[0.0, 0.0, 0.0], [0.0, 0.0, r]], [first, second])
            for second, bond in zip(elements[index:], sums, strict=True)
            for r in torch.linspace(0.35 * bond, max(0.55 * bond, 0.5), points).tolist()
        ]
        energies = evaluate(potential, System.batch(dimers), ("energy",))["energy"].view(-1, points)
        falls = (energies.diff(dim=1) >= 0).any(dim=1).nonzero()[:, 0] + index
        assert not len(falls), f"{first} with {[elements[i] for i in falls.tolist()]}"


def test_another_file_under_the_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.safetensors").write_bytes(b"other")
    monkeypatch.setattr(shipped, "PACKAGES", tmp_path)
    for name, said in (("other.safetensors", "damaged"), ("absent.safetensors", "not there")):
        card = replace(OURS[0], weights=Weights("package", (WeightsFile(name, sha256="0" * 64),)))
        with pytest.raises(ModelError, match=f"E-WEIGHTS.*{said}"):
            shipped.load(card)
