"""Files and labels: records, readers and writers, conversion, batches, splits and reference energies."""

from groundstate.data.batch import Batch, atom_counts, batches, collate
from groundstate.data.convert import from_ase, from_pymatgen, to_ase, to_pymatgen
from groundstate.data.exclusions import without, write_exclusions
from groundstate.data.importing import Forecast, Progress, forecast, import_files, sources_in
from groundstate.data.labeller import Labeller
from groundstate.data.packing import Limits, Sizes, deal, pack
from groundstate.data.readers import Dataset, Survey, iterate, read, record_from_ase, survey
from groundstate.data.record import LazyRecords, Provenance, Record, chosen
from groundstate.data.reference_energies import (
    ReferenceFit,
    check_elements,
    check_reference_energies,
    elements_of,
    fit_reference_energies,
    fits_by_theory,
    isolated_atom_energies,
)
from groundstate.data.report import LabelReport, LabelRow
from groundstate.data.reshaping import merge_stores, separate, split_store, write_records, write_store
from groundstate.data.split import check_leaks, composition, fingerprint, fingerprints, split
from groundstate.data.store import Statistics, Store, is_store, open_store
from groundstate.data.theories import TheoryRule, named_theories, theory
from groundstate.data.writers import refuse_existing, write

__all__ = [
    "Batch",
    "Dataset",
    "Forecast",
    "LabelReport",
    "LabelRow",
    "Labeller",
    "LazyRecords",
    "Limits",
    "Progress",
    "Provenance",
    "Record",
    "ReferenceFit",
    "Sizes",
    "Statistics",
    "Store",
    "Survey",
    "TheoryRule",
    "atom_counts",
    "batches",
    "check_elements",
    "check_leaks",
    "check_reference_energies",
    "chosen",
    "collate",
    "composition",
    "deal",
    "elements_of",
    "fingerprint",
    "fingerprints",
    "fit_reference_energies",
    "fits_by_theory",
    "forecast",
    "from_ase",
    "from_pymatgen",
    "import_files",
    "is_store",
    "isolated_atom_energies",
    "iterate",
    "merge_stores",
    "named_theories",
    "open_store",
    "pack",
    "read",
    "record_from_ase",
    "refuse_existing",
    "separate",
    "sources_in",
    "split",
    "split_store",
    "survey",
    "theory",
    "to_ase",
    "to_pymatgen",
    "without",
    "write",
    "write_exclusions",
    "write_records",
    "write_store",
]
