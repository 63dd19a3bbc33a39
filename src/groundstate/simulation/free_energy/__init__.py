"""Free energies: what a structure's entropy is worth, by thermodynamic integration and insertion."""
"""Free energies: what temperature and entropy add to a minimum."""

__all__: list[str] = []
