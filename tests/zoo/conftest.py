"""The authors' own calculator, as the independent code that ours must equal."""

import os
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest

Reference = Callable[[ase.Atoms], dict[str, Any]]


@pytest.fixture(scope="session")
def needs_chgnet() -> None:
    if find_spec("chgnet") is None:
        pytest.skip("the package chgnet is not installed")


@pytest.fixture(scope="session")
def authors_calculator(needs_chgnet: None) -> Any:
    # chgnet and pymatgen warn on import and on use; that is their affair.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from chgnet.model.dynamics import CHGNetCalculator

        return CHGNetCalculator(use_device="cpu", on_isolated_atoms="ignore", return_site_energies=True)


@pytest.fixture
def published(authors_calculator: Any) -> Reference:
    """Energy, forces, stress (3×3), moments and site energies as the package gives them, float32."""
    return lambda atoms: _results(authors_calculator, atoms)


@pytest.fixture
def published_float64(authors_calculator: Any) -> Iterator[Reference]:
    """The same code and weights computing in float64, which the package itself does not offer."""
    import chgnet.graph.converter
    import chgnet.graph.crystalgraph
    import chgnet.model.model
    import torch

    model = authors_calculator.model
    with pytest.MonkeyPatch.context() as patch:
        for module in (chgnet.graph.converter, chgnet.graph.crystalgraph, chgnet.model.model):
            patch.setattr(module, "TORCH_DTYPE", torch.float64)
        model.double()
        model.composition_model.float()
        yield lambda atoms: _results(authors_calculator, atoms)
        model.float()


def _results(calculator: Any, atoms: ase.Atoms) -> dict[str, Any]:
    calculator.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calculator.calculate(atoms.copy())
    results = calculator.results
    return {
        "energy": float(results["energy"]),
        "forces": np.asarray(results["forces"]),
        "stress": np.asarray(results["stress"]),
        "magnetic_moments": np.asarray(results["magmoms"]),
        "energies": np.asarray(results["energies"]),
    }


@pytest.fixture(scope="session")
def mptrj_file() -> Path:
    root = os.environ.get("GROUNDSTATE_DATA")
    if not root:
        pytest.skip("GROUNDSTATE_DATA is not set: it names the folder with mptrj_sample/mptrj-random-1k.xyz")
    return Path(root) / "mptrj_sample" / "mptrj-random-1k.xyz"
