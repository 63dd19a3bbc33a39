"""The verb that puts a run into one file, and what reads it back."""

from groundstate.api.sources import File
from groundstate.simulation import hdf5
from groundstate.simulation.hdf5 import Archive


def export(run: File, output: File, *, overwrite: bool = False) -> int:
    """The folder of a relaxation or a molecular dynamics run as one HDF5 file; returns the number of structures."""
    return hdf5.export(run, output, overwrite=overwrite)


def load_run(path: File) -> Archive:
    """What `export` wrote: every structure with its frames and samples, and the run's record."""
    return hdf5.load(path)
