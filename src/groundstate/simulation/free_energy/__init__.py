"""Free energies: what temperature and entropy add to a minimum."""

__all__: list[str] = []
