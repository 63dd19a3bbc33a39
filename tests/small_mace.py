"""Tiny untrained MACE models of many shapes, and structures for them."""

from typing import Any

import pytest
import torch

from groundstate.atoms import LevelOfTheory, System
from groundstate.potentials import Model
from groundstate.potentials.mace import MACEConfig, build

ELEMENTS = (1, 8, 14)
REFERENCES = {1: -13.6, 8: -430.0, 14: -100.5}
SHAPES = [
    pytest.param({"lmax": 1, "hidden_lmax": 0, "correlation": 1, "layers": 1}, id="pair"),
    pytest.param({"lmax": 1, "hidden_lmax": 1, "correlation": 2, "residual": False}, id="vector"),
    pytest.param({"lmax": 2, "hidden_lmax": 0, "distance_transform": "linear", "fade_at_contact": False}, id="scalar"),
    pytest.param({"lmax": 2, "hidden_lmax": 2, "correlation": 2, "layers": 3}, id="deep"),
    pytest.param({"lmax": 3, "hidden_lmax": 1, "correlation": 3}, id="usual"),
]


def small(*, theories: int = 1, seed: int = 0, zbl: bool = True, **overrides: Any) -> Model:
    """Four channels, float64 unless said otherwise."""
    shape = {"channels": 4, "cutoff": 4.0, "average_neighbours": 4.0, "dtype": "float64", "readout_width": 3}
    config = MACEConfig(**{**shape, "radial_widths": (5, 4), "radial_basis": 4, **overrides})
    named = [LevelOfTheory("PBE"), LevelOfTheory("r2SCAN"), LevelOfTheory("CCSD(T)")][:theories]
    references = [{z: e + level for z, e in REFERENCES.items()} for level in range(theories)]
    return build(
        config,
        elements=ELEMENTS,
        reference_energies=references,
        scale=[1.0 + level for level in range(theories)],
        theories=named,
        zbl=zbl,
        seed=seed,
    )


def cluster(seed: int = 0, **conditions: Any) -> System:
    """Six atoms on a jittered grid, no period."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.cartesian_prod(torch.arange(3.0), torch.arange(2.0), torch.arange(1.0)).double() * 1.7
    jitter = 0.5 * torch.rand(6, 3, dtype=torch.float64, generator=generator)
    return System.single(grid + jitter, [1, 8, 14, 1, 1, 8], **conditions)


def crystal(seed: int = 0, pbc: Any = True, **conditions: Any) -> System:
    """Three atoms in a skewed left-handed cell that is smaller than the cutoff."""
    generator = torch.Generator().manual_seed(seed)
    cell = torch.tensor([[0.3, 3.1, 0.2], [3.4, 0.1, -0.5], [0.4, 0.6, 3.3]], dtype=torch.float64)
    fractional = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.45, 0.1], [0.1, 0.5, 0.55]], dtype=torch.float64)
    positions = fractional @ cell + 0.1 * torch.randn(3, 3, dtype=torch.float64, generator=generator)
    return System.single(positions, [14, 8, 1], cell=cell, pbc=pbc, **conditions)


def dimer(first: int, second: int, distance: float, **conditions: Any) -> System:
    """Two atoms, no period."""
    return System.single([[0.0, 0.0, 0.0], [0.0, 0.6 * distance, 0.8 * distance]], [first, second], **conditions)
