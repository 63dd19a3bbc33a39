"""Energies of another kind or unit."""

from dataclasses import replace

import numpy as np
import torch

from groundstate.atoms import System
from groundstate.atoms.units import GIGAPASCAL, HARTREE
from groundstate.data import Record
from groundstate.data.lint import Finding, examine
from labelled_crystals import labelled, rattled, relabelled, shuffled
from toys import fcc

RECORDS = labelled(shuffled(rattled(12, seed=31, amplitude=0.08, strain=0.03)))


def found(records: list[Record], **options: object) -> dict[str, Finding]:
    """Findings about energies, by code."""
    (check,) = [one for one in examine(records, **options).checks if one.check.startswith("kind")]  # type: ignore[arg-type]
    return {finding.code: finding for finding in check.findings}


def tagged(record: Record, **tags: float) -> Record:
    return replace(record, provenance=replace(record.provenance, tags={k: str(v) for k, v in tags.items()}))


def test_plain_energies_pass() -> None:
    assert found(RECORDS) == {}


def test_free_energies_beside() -> None:
    free = np.array([float(r.labels["energy"]) for r in RECORDS]) - 0.032
    finding = found(RECORDS, other_energies={"free_energy": free})["L-ENERGY-FREE"]
    assert finding.severity == "note"
    assert abs(finding.numbers["median_eV_per_atom"] + 0.001) < 1e-9
    assert found(RECORDS, other_energies={"free_energy": free + 0.032}) == {}


def test_free_energies_read_in_part() -> None:
    def read_as(record: Record, key: str) -> Record:
        return replace(record, provenance=replace(record.provenance, keys={"energy": key}))

    mixed = [read_as(r, "free_energy" if i < 4 else "energy") for i, r in enumerate(RECORDS)]
    assert (found(mixed)["L-ENERGY-FREE"].severity, found(mixed)["L-ENERGY-FREE"].frames) == ("error", (0, 1, 2, 3))


def test_an_enthalpy_in_place_of_the_energy() -> None:
    same = [tagged(r, enthalpy=float(r.labels["energy"]), pressure=10.0) for r in RECORDS]
    assert found(same)["L-ENTHALPY"].severity == "error"
    work = [10 * GIGAPASCAL * float(r.system.volume[0]) for r in RECORDS]
    beside = [tagged(r, enthalpy=float(r.labels["energy"]) + w) for r, w in zip(RECORDS, work, strict=True)]
    assert abs(found(beside)["L-ENTHALPY-BESIDE"].numbers["median_pressure_GPa"] - 10) < 1e-6


def test_energies_per_atom() -> None:
    sizes = labelled([fcc(), fcc(repeats=2), *rattled(3, seed=1)])
    assert found(sizes) == {}
    per_atom = relabelled(sizes, "energy", lambda r, energy: energy / r.n_atoms)
    assert "L-ENERGY-PER-ATOM" in found(per_atom)


def test_all_electron_energies_in_hartree() -> None:
    """PBE total energies (Hartree) of three molecules, to three digits."""
    known = {(8, 1, 1): -76.33, (6, 1, 1, 1, 1): -40.46, (6, 8): -113.24}
    records = [
        Record(System.single([[1.1 * i, 0, 0] for i in range(len(z))], z), {"energy": torch.tensor(e).double()})
        for z, e in known.items()
    ]
    assert "Hartree" in found(records)["L-ENERGY-UNIT"].what
    assert found(relabelled(records, "energy", lambda _, energy: energy * HARTREE)) == {}


def test_molecules_have_no_pressure_and_zero_energies_no_unit() -> None:
    molecule = System.single([[0.0, 0, 0], [0, 0, 1.13]], [6, 8])
    record = tagged(Record(molecule, {"energy": torch.tensor(-14.8).double()}), enthalpy=-14.7)
    assert found([record]) == {}
    assert found(relabelled([record], "energy", lambda _, energy: 0 * energy)) == {}
