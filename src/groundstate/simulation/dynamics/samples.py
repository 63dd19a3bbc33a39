"""What is recorded along a run: a table that grows, kept as lines of JSON."""

import json
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

COLUMNS = ("step", "time_fs", "temperature_K", "potential", "kinetic", "total", "max_force")
"""Of every run; an ensemble adds its own."""


class Samples:
    """Rows of `columns`: fs, K, eV, eV/Å, and the ensemble's GPa, Å³, eV."""

    def __init__(self, further: tuple[str, ...] = ()) -> None:
        self.names = COLUMNS + further
        self.rows: list[tuple[float, ...]] = []

    @classmethod
    def read(cls, path: Path, further: tuple[str, ...] = ()) -> "Samples":
        """The rows in a file; none where there is no file."""
        samples = cls(further)
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            samples.rows = [tuple(json.loads(line)[name] for name in samples.names) for line in lines]
        return samples

    def add(self, row: tuple[float, ...]) -> str:
        """Append a row; returns its line."""
        self.rows.append(row)
        return json.dumps(dict(zip(self.names, row, strict=True)), allow_nan=False) + "\n"

    def first(self, column: str) -> float:
        """The first value of a column, NaN when empty."""
        return self.rows[0][self.names.index(column)] if self.rows else float("nan")

    def columns(self) -> dict[str, Float[Tensor, " sample"]]:
        """The table by column."""
        table = torch.tensor(self.rows, dtype=torch.float64).reshape(-1, len(self.names))
        return {name: table[:, k].contiguous() for k, name in enumerate(self.names)}
