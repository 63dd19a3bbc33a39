"""Free energies: what temperature and entropy add to a minimum, by integration and by insertion."""

__all__: list[str] = []
