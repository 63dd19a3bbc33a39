"""Files and labels: records, readers and writers, conversion, batches, splits and reference energies."""

from groundstate.data.batch import Batch, batches, collate, gather
from groundstate.data.columns import Columns
from groundstate.data.convert import from_ase, from_pymatgen, to_ase, to_pymatgen
from groundstate.data.labeller import Labeller
from groundstate.data.readers import Dataset, iterate, read, record_from_ase
from groundstate.data.record import Provenance, Record
from groundstate.data.reference_energies import (
    ReferenceFit,
    check_elements,
    check_reference_energies,
    fit_reference_energies,
    isolated_atom_energies,
)
from groundstate.data.report import LabelReport, LabelRow
from groundstate.data.split import check_leaks, composition, fingerprint, split
from groundstate.data.writers import refuse_existing, write

__all__ = [
    "Batch",
    "Columns",
    "Dataset",
    "LabelReport",
    "LabelRow",
    "Labeller",
    "Provenance",
    "Record",
    "ReferenceFit",
    "batches",
    "check_elements",
    "check_leaks",
    "check_reference_energies",
    "collate",
    "composition",
    "fingerprint",
    "fit_reference_energies",
    "from_ase",
    "from_pymatgen",
    "gather",
    "isolated_atom_energies",
    "iterate",
    "read",
    "record_from_ase",
    "refuse_existing",
    "split",
    "to_ase",
    "to_pymatgen",
    "write",
]
