"""CHGNet 0.3.0 as a potential: the published weights behind our interface, differentiable through our geometry."""

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from groundstate.atoms import Domain, Geometry, LevelOfTheory, ModelError, OptionError, RunError, System
from groundstate.potentials import Energy, Potential, Prediction
from groundstate.zoo.catalogue import Card, resolve
from groundstate.zoo.chgnet.bonds import Bonds
from groundstate.zoo.chgnet.network import ATOM_CUTOFF, BOND_CUTOFF, Network

Precision = Literal["float32", "float64"]
_CARD = "chgnet-0.3.0"


class CHGNet(Potential):
    """E = Σ_i (ε_Z(i) + network_i): reference energies per element and what a network sees within 6 Å, 3 Å for angles.

    Gives magnetic moments (μB, sizes) beside energies. An atom without neighbours gets the network's answer to an empty
    neighbourhood, the continuous limit of pulling it away; no such atom was in the training data.
    precision   of the network: "float32" as trained; "float64" removes the rounding of forces (1e-4 eV/Å) for phonons
                and numerical derivatives. Geometry and sums over atoms are float64 in both.
    The weights are constants and no parameters of this module: `state_dict` is empty, `describe` names them by hash.
    Raises RunError E-EXTRA-MISSING without the package `chgnet`, ModelError E-WEIGHTS when its file is another.
    Source: Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Checked: tests/zoo/test_chgnet.py (the authors' calculator).
    """

    def __init__(self, precision: Precision = "float32") -> None:
        super().__init__()
        if precision not in ("float32", "float64"):
            raise OptionError("E-PRECISION", f"there is no precision '{precision}'", fix="use 'float32' or 'float64'")
        self.precision = precision
        self.card = resolve(_CARD)
        dtype = {"float32": torch.float32, "float64": torch.float64}[precision]
        # In plain dicts, torch neither moves the weights nor counts them as parameters.
        self._weights = {name: array.to(dtype) for name, array in _read_weights(self.card).items()}
        self._networks: dict[torch.device, tuple[Network, Tensor]] = {}

    @property
    def domain(self) -> Domain:
        """The 89 elements of its training data; blind to charge and spin state."""
        return self.card.domain

    @property
    def cutoff(self) -> float:
        """6 Å"""
        return ATOM_CUTOFF

    @property
    def theories(self) -> tuple[LevelOfTheory, ...]:
        """PBE and PBE+U as in the Materials Project, MP2020-corrected."""
        return (self.card.theory,)

    @property
    def provides(self) -> frozenset[str]:
        """Sizes of the magnetic moments."""
        return frozenset({"magnetic_moments"})

    def describe(self) -> dict[str, Any]:
        """Version, hash of the weights and precision: with the card they fix it."""
        return description(self.card, self.precision)

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        """Energies and moments of the batch, on the device of the system."""
        network, references = self._on(system.device)
        per_atom, moments = network(system.numbers, Bonds.of(geometry.edges(ATOM_CUTOFF), BOND_CUTOFF))
        energies = per_atom.to(torch.float64) + references[system.numbers - 1]
        return Prediction(Energy.of_atoms(system, energies), {"magnetic_moments": moments.to(torch.float64)})

    def _on(self, device: torch.device) -> tuple[Network, Tensor]:
        if device not in self._networks:
            weights = {name: w.to(device) for name, w in self._weights.items()}
            references = weights["composition_model.fc.weight"][0].to(torch.float64)
            self._networks[device] = (Network(weights), references)
        return self._networks[device]


def description(card: Card, precision: Precision) -> dict[str, Any]:
    """What fixes the potential of a card; known without its weights."""
    version, weights = card.version, card.weights_sha256
    return {"kind": "chgnet", "version": version, "weights_sha256": weights, "precision": precision}


def build(description: Mapping[str, Any]) -> CHGNet:
    """The potential a model file describes; other weights than those of the card are refused."""
    potential = CHGNet(description["precision"])
    if potential.describe() != dict(description):
        raise ModelError(
            "E-WEIGHTS",
            f"the file asks for CHGNet {description['version']} with other weights than {potential.card.id}",
            why="its correction was made for those",
            fix="use the version of groundstate that wrote the file",
        )
    return potential


def _read_weights(card: Card) -> dict[str, Tensor]:
    """The published arrays. Only the file is used, the package is not imported: that takes seconds and warns."""
    package = find_spec("chgnet")
    if package is None or not package.submodule_search_locations:
        raise RunError(
            "E-EXTRA-MISSING",
            "the package 'chgnet', which carries the weights, is not installed",
            fix=card.install,
        )
    path = Path(package.submodule_search_locations[0]).parent / card.weights.files[0].name
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if found != card.weights_sha256:
        raise ModelError(
            "E-WEIGHTS",
            f"the weights of {card.name} {card.version} are not the published ones: {found[:12]}, expected"
            f" {card.weights_sha256[:12]}",
            file=str(path),
            why="results would not be those of the model named",
            fix="reinstall the package: pip install --force-reinstall chgnet",
        )
    # The file is a known one by its hash, and `weights_only` reads arrays and plain data without running code.
    content = torch.load(path, map_location="cpu", weights_only=True)
    weights: dict[str, Tensor] = content["model"]["state_dict"]
    return {name: array.detach() for name, array in weights.items()}
