"""What records are: hashes that tell whether two of them are the same, and their levels of theory."""

import hashlib
from collections.abc import Iterable

import torch

from groundstate.atoms import LevelOfTheory, System
from groundstate.data import LazyRecords, Record

_RESOLUTION = 1e-5
"""Å; finer than any file format in use prints differences that matter, coarser than rounding of a format."""


def structure_hash(system: System) -> str:
    """Of numbers, positions and periodic lattice vectors in the order given, to 1e-5 Å; labels do not enter."""
    digest = hashlib.sha256()
    cell = system.cell * system.pbc[:, :, None]
    for values in (system.positions - system.positions[:1], cell):
        digest.update(torch.round(values.detach().cpu() / _RESOLUTION).to(torch.int64).numpy().tobytes())
    for whole in (system.numbers, system.pbc):
        digest.update(whole.cpu().contiguous().numpy().tobytes())
    for condition in (system.charge, system.multiplicity, system.theory):
        digest.update(b"-" if condition is None else condition.cpu().to(torch.float64).numpy().tobytes())
    return digest.hexdigest()[:16]


def data_hash(records: Iterable[Record]) -> str:
    """Of structures and labels, in order, to the last bit of the labels; of a store, of its shards' checksums."""
    if isinstance(records, LazyRecords):
        return records.digest
    digest = hashlib.sha256()
    for record in records:
        digest.update(structure_hash(record.system).encode())
        for name in sorted(record.labels):
            digest.update(name.encode() + record.labels[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def theories_of(records: Iterable[Record]) -> dict[str, LevelOfTheory]:
    """The known levels of theory among the records, by id."""
    if isinstance(records, LazyRecords):
        found = {level.id: level for level in records.levels}
        return {name: found[name] for name in sorted(found)}
    found = {record.theory.id: record.theory for record in records if record.theory is not None}
    return {name: found[name] for name in sorted(found)}
