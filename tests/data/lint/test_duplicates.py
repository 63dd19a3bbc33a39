"""Copies are found however they are written down, and leaks between sets by structure and by tag."""

from dataclasses import replace

import torch

from groundstate.atoms import System
from groundstate.data import Record
from groundstate.data.lint import Finding, examine
from labelled_crystals import labelled, rattled, relabelled
from toys import fcc

RECORDS = labelled(rattled(6, seed=5))


def found(records: list[Record], against: list[Record] | None = None) -> dict[str, Finding]:
    """Findings by code."""
    return {finding.code: finding for finding in examine(records, against or []).findings}


def moved(record: Record, *, jitter: float = 0.0) -> Record:
    """The same structure turned, shifted, its atoms in another order."""
    system, draw = record.system, torch.Generator().manual_seed(7)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=draw, dtype=torch.float64))[0]
    order = torch.randperm(system.n_atoms, generator=draw)
    noise = jitter * (2 * torch.rand(system.positions.shape, generator=draw, dtype=torch.float64) - 1)
    positions = ((system.positions + noise + 0.3) @ turn)[order]
    twin = System.single(positions, system.numbers[order], cell=system.cell[0] @ turn, pbc=True)
    return replace(record, system=twin)


def test_different_frames_are_no_copies() -> None:
    assert found(RECORDS) == {}


def test_copies() -> None:
    codes = found([*RECORDS, RECORDS[2], RECORDS[4]])
    assert codes["L-DUPLICATE"].frames == (6, 7)
    assert "L-NEAR-DUPLICATE" not in codes


def test_near_copies_turned_shifted_and_reordered() -> None:
    codes = found([*RECORDS, moved(RECORDS[1], jitter=0.0005)])
    assert codes["L-NEAR-DUPLICATE"].frames == (6,)
    assert "L-DUPLICATE" not in codes
    assert "L-NEAR-DUPLICATE" not in found([*RECORDS, moved(RECORDS[1], jitter=0.02)])


def test_a_supercell_is_a_near_copy() -> None:
    small, large = labelled([fcc(), fcc(repeats=2)])
    assert found([small, large])["L-NEAR-DUPLICATE"].frames == (1,)


def test_one_fragment_further_away_is_another_structure() -> None:
    def pair(apart: float) -> System:
        return System.single([[0.0, 0, 0], [0, 0, 1.1], [apart, 0, 0], [apart, 0, 1.1]], [6, 8, 6, 8])

    assert "L-NEAR-DUPLICATE" not in found([Record(pair(7.0)), Record(pair(8.0)), Record(pair(9.0))])


def test_copies_with_another_energy() -> None:
    spoilt = relabelled([RECORDS[0]], "energy", lambda _, energy: energy + 0.5)[0]
    codes = found([*RECORDS, spoilt])
    assert (codes["L-DUPLICATE-ENERGY"].severity, codes["L-DUPLICATE-ENERGY"].frames) == ("error", (6,))
    charged = replace(spoilt, system=spoilt.system.replace(charge=torch.tensor([1.0], dtype=torch.float64)))
    assert "L-DUPLICATE-ENERGY" not in found([*RECORDS, charged])


def test_leaks_between_sets() -> None:
    codes = found(RECORDS[:4], [RECORDS[3], moved(RECORDS[0]), *RECORDS[4:]])
    assert (codes["L-LEAK"].severity, codes["L-LEAK"].frames) == ("error", (3,))
    assert (codes["L-NEAR-LEAK"].severity, codes["L-NEAR-LEAK"].frames) == ("warning", (0,))
    assert found(RECORDS[:3], RECORDS[3:]) == {}
    assert [one.verdict for one in examine(RECORDS).checks if one.check.startswith("leak")] == ["not checked"]


def test_leaks_by_material_and_trajectory() -> None:
    def tagged(record: Record, **tags: str) -> Record:
        return replace(record, provenance=replace(record.provenance, tags=tags))

    mine = [tagged(r, material_id=f"m-{i}", traj_id="a", config_id=str(i)) for i, r in enumerate(RECORDS[:3])]
    other = [tagged(r, material_id=f"m-{i + 2}", traj_id="b", config_id=str(i)) for i, r in enumerate(RECORDS[3:])]
    (finding,) = [finding for finding in examine(mine, other).findings if finding.code == "L-LEAK-TAG"]
    assert "material_id" in finding.what
    assert finding.frames == (2,)
