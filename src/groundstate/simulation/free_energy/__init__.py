"""Free energies: what a structure's entropy is worth, by thermodynamic integration and insertion."""

__all__: list[str] = []
