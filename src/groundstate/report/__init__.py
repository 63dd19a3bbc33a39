"""Floor 6: what a run leaves for people (one self-contained HTML page) and for programs (its JSON twin)."""

from groundstate.report.crystals import Picture, structures
from groundstate.report.figures import agreement, curves, on_a_line, parity
from groundstate.report.page import Page
from groundstate.report.phonon_figures import bands
from groundstate.report.provenance import provenance
from groundstate.report.tuning import advice_page, certificate_page

__all__ = [
    "Page",
    "Picture",
    "advice_page",
    "agreement",
    "bands",
    "certificate_page",
    "curves",
    "on_a_line",
    "parity",
    "provenance",
    "structures",
]
