"""Splits share no structure, repeat for a seed, and are never empty."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from groundstate.atoms import GroundstateError, System
from groundstate.data import Provenance, Record, check_leaks, composition, fingerprint, split
from toys import fcc


def rattled(seed: int, number: int = 29, tag: str = "") -> Record:
    """A crystal with displaced atoms."""
    crystal = fcc(number)
    noise = 0.05 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    system = crystal.replace(positions=crystal.positions + noise)
    return Record(system, provenance=Provenance("a.xyz", seed, tags={"material": tag}))


def test_fractions_and_seed() -> None:
    records = [rattled(seed) for seed in range(100)]
    train, valid, test = split(records, [0.8, 0.1, 0.1], seed=1)
    assert [len(train), len(valid), len(test)] == [80, 10, 10]
    assert {r.provenance.frame for r in (*train, *valid, *test)} == set(range(100))
    again = split(records, [0.8, 0.1, 0.1], seed=1)
    other = split(records, [0.8, 0.1, 0.1], seed=2)
    frames = [r.provenance.frame for r in valid]
    assert frames == [r.provenance.frame for r in again[1]] != [r.provenance.frame for r in other[1]]


def test_copies_stay_together() -> None:
    records = [rattled(seed % 10) for seed in range(40)]
    train, valid = split(records, [0.5, 0.5], seed=0)
    assert not {r.provenance.frame for r in train} & {r.provenance.frame for r in valid}


def test_by_composition_and_by_tag() -> None:
    records = [rattled(seed, number=29 + seed % 5, tag=f"mp-{seed % 7}") for seed in range(70)]
    train, valid = split(records, [0.7, 0.3], keep_together="composition")
    assert not {composition(r.system) for r in train} & {composition(r.system) for r in valid}
    train, valid = split(records, [0.7, 0.3], keep_together="material")
    assert not {r.provenance.tags["material"] for r in train} & {r.provenance.tags["material"] for r in valid}


@pytest.mark.parametrize(
    ("n_records", "fractions", "options", "code", "words"),
    [
        (3, [0.9, 0.1], {}, "E-SPLIT-EMPTY", "3 frames in 3 groups leave set 1"),
        (9, [0.5, 0.5], {"keep_together": "composition"}, "E-SPLIT-EMPTY", "divides one formula"),
        (9, [0.9, 0.2], {}, "E-SPLIT-FRACTIONS", "adding up to 1"),
        (9, [1.0, 0.0], {}, "E-SPLIT-FRACTIONS", "positive"),
        (9, [0.5, 0.5], {"keep_together": "materiel"}, "E-SPLIT-GROUP", "'material'"),
        (9, [0.5, 0.5], {"block": 3}, "E-SPLIT-BLOCK", "parts of trajectories"),
        (9, [0.5, 0.5], {"keep_together": "trajectory", "block": 0}, "E-SPLIT-BLOCK", "at least 1"),
    ],
)
def test_refused(n_records: int, fractions: list[float], options: dict[str, Any], code: str, words: str) -> None:
    with pytest.raises(GroundstateError) as caught:
        split([rattled(seed) for seed in range(n_records)], fractions, **options)
    assert caught.value.code == code
    assert words in str(caught.value)


def test_leaks_are_named() -> None:
    with pytest.raises(GroundstateError, match=r"E-LEAK.*set 0 record 1 \(a\.xyz: frame 1\) = set 1 record 0"):
        check_leaks([rattled(0), rattled(1)], [rattled(1)])
    check_leaks([rattled(0), rattled(0)], [rattled(1)])


def test_groups_that_share_a_structure_are_one() -> None:
    """A tag that would divide copies does not."""
    tags = [{"half": str(i % 2 + 2 * (i // 8))} for i in range(16)]
    records = [replace(rattled(i // 2), provenance=Provenance(tags=own)) for i, own in enumerate(tags)]
    one, other = split(records, [0.5, 0.5], keep_together="half")
    assert (len(one), len(other)) == (8, 8)
    check_leaks(one, other)
    assert [{int(r.provenance.tags["half"]) // 2 for r in part} for part in (one, other)] in ([{0}, {1}], [{1}, {0}])


def test_trajectories_and_their_blocks() -> None:
    """Frames that follow each other in a file stay together; blocks cut them, and what is next to each other stays."""
    records = [replace(rattled(i, 29 + i // 20), provenance=Provenance("a.xyz", i)) for i in range(60)]
    parts = split(records, [0.67, 0.33], keep_together="trajectory")
    assert sorted(len(part) for part in parts) == [20, 40]
    assert not {r.system.numbers[0].item() for r in parts[0]} & {r.system.numbers[0].item() for r in parts[1]}
    for part in split(records, [0.5, 0.5], keep_together="trajectory", block=5):
        frames = sorted(int(r.provenance.frame or 0) for r in part)
        assert len(part) == 30
        assert all({5 * (frame // 5) + i for i in range(5)} <= set(frames) for frame in frames)


def test_fingerprint_sees_the_geometry_and_nothing_else() -> None:
    system = rattled(3).system
    order = torch.tensor([2, 0, 3, 1])
    permuted = system.replace(positions=system.positions[order], numbers=system.numbers[order])
    shifted = system.replace(positions=system.positions + system.cell[0, 0])
    assert fingerprint(permuted) == fingerprint(shifted) == fingerprint(system)
    at_home = fcc()
    just_outside = at_home.replace(positions=at_home.positions - 1e-12)
    assert fingerprint(at_home) == fingerprint(just_outside)
    moved = system.positions.clone()
    moved[0, 0] += 0.01
    for other in (
        system.replace(positions=moved),
        system.replace(cell=system.cell * 1.01),
        system.replace(numbers=system.numbers + 1),
        system.replace(pbc=torch.tensor([[True, True, False]])),
    ):
        assert fingerprint(other) != fingerprint(system)


def test_fingerprint_of_a_slab_and_a_molecule() -> None:
    slab = rattled(4).system.replace(pbc=torch.tensor([[True, True, False]]))
    lifted = slab.replace(positions=slab.positions + torch.tensor([3.61, 0, 0.5], dtype=torch.float64))
    along = slab.replace(positions=slab.positions + torch.tensor([3.61, 0, 0.0], dtype=torch.float64))
    assert fingerprint(along) == fingerprint(slab) != fingerprint(lifted)
    molecule = System.single([[0.0, 0, 0], [0, 0, 1.1]], [6, 8])
    assert fingerprint(molecule) != fingerprint(System.single([[0.0, 0, 0], [0, 0, 1.2]], [6, 8]))


def test_composition_is_reduced() -> None:
    assert composition(System.single(torch.zeros(6, 3), [8, 12, 8, 12, 8, 8])) == "MgO2"
