"""Files and labels: records, readers and writers, conversion, batches, splits and reference energies."""

from groundstate.data.batch import Batch, batches, collate
from groundstate.data.convert import from_ase, from_pymatgen, to_ase, to_pymatgen
from groundstate.data.labeller import Labeller
from groundstate.data.readers import Dataset, Survey, iterate, read, record_from_ase, survey
from groundstate.data.record import Provenance, Record
from groundstate.data.reference_energies import (
    ReferenceFit,
    check_elements,
    check_reference_energies,
    fit_reference_energies,
    fits_by_theory,
    isolated_atom_energies,
)
from groundstate.data.report import LabelReport, LabelRow
from groundstate.data.split import check_leaks, composition, fingerprint, split
from groundstate.data.writers import refuse_existing, write

__all__ = [
    "Batch",
    "Dataset",
    "LabelReport",
    "LabelRow",
    "Labeller",
    "Provenance",
    "Record",
    "ReferenceFit",
    "Survey",
    "batches",
    "check_elements",
    "check_leaks",
    "check_reference_energies",
    "collate",
    "composition",
    "fingerprint",
    "fit_reference_energies",
    "fits_by_theory",
    "from_ase",
    "from_pymatgen",
    "isolated_atom_energies",
    "iterate",
    "read",
    "record_from_ase",
    "refuse_existing",
    "split",
    "survey",
    "to_ase",
    "to_pymatgen",
    "write",
]
