"""Floor 6: what a run leaves for people (one self-contained HTML page) and for programs (its JSON twin)."""

from groundstate.report.crystals import Picture, structures
from groundstate.report.figures import agreement, curves, parity
from groundstate.report.page import Page
from groundstate.report.phonon_figures import bands
from groundstate.report.provenance import provenance

__all__ = ["Page", "Picture", "agreement", "bands", "curves", "parity", "provenance", "structures"]
