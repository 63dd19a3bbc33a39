"""Low-rank adapters: a base model of which every matrix of channels may turn in a few directions only.

    W → W + (α/r) A B,   A [in, r] drawn at random, B [r, out] zero at the start

Source: Hu et al., LoRA, ICLR 2022 (arXiv:2106.09685); equivariant form, one pair of factors for every degree of every
linear map: Wang et al., ELoRA (ICML 2025). Matrices of channels act alike on all components of a degree, so the
adapted model keeps every symmetry of its base. Checked: tests/training/test_adapters.py
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from groundstate.atoms import Domain, Geometry, LevelOfTheory, OptionError, System
from groundstate.equivariant import ClassedIrrepLinear, IrrepLinear
from groundstate.potentials import Model, Potential, Prediction
from groundstate.potentials.mace import RadialNetwork

_MAPS: dict[type[nn.Module], tuple[str, ...]] = {
    IrrepLinear: ("weights",),
    ClassedIrrepLinear: ("weight",),
    RadialNetwork: ("hidden", "last"),
}
"""Kinds of module whose parameters of these names are matrices [..., channels in, channels out]."""


class Adapted(Potential):
    """A base whose matrices of channels carry low-rank adapters; its heads are free, all else is frozen.

    The base is copied. The factors A are drawn from the standard normal distribution by `seed`. `merged` gives the
    plain model of the same function: adapters leave no trace in a model file, and cost nothing once trained.
    Raises OptionError (E-FINETUNE-METHOD) for a base without such matrices.
    """

    def __init__(self, base: Potential, *, rank: int, alpha: float, seed: int = 0) -> None:
        super().__init__()
        self.base = copy.deepcopy(base).requires_grad_(False)
        free_heads(self.base)
        self.rank, self.alpha = rank, alpha
        self.ranks = {name: min(rank, max(1, min(w.shape[-2:]) // 2)) for name, w in channel_matrices(self.base)}
        if not self.ranks:
            raise OptionError(
                "E-FINETUNE-METHOD",
                f"a model of kind '{base.describe()['kind']}' has no matrices for low-rank adapters",
                fix="use method 'full'",
            )
        generator = torch.Generator().manual_seed(seed)
        into, out = {}, {}
        for name, weight in channel_matrices(self.base):
            *which, rows, columns = weight.shape
            r = self.ranks[name]
            drawn = torch.randn(*which, rows, r, dtype=weight.dtype, generator=generator)
            into[_key(name)] = nn.Parameter(drawn.to(weight.device))
            out[_key(name)] = nn.Parameter(weight.new_zeros(*which, r, columns))
        self.into, self.out = nn.ParameterDict(into), nn.ParameterDict(out)

    @property
    def domain(self) -> Domain:
        """The base's."""
        return self.base.domain

    @property
    def cutoff(self) -> float:
        """Å"""
        return self.base.cutoff

    @property
    def theories(self) -> tuple[LevelOfTheory, ...]:
        """The base's."""
        return self.base.theories

    @property
    def provides(self) -> frozenset[str]:
        """The base's."""
        return self.base.provides

    @property
    def native(self) -> bool:
        """Whether the base is."""
        return self.base.native

    def describe(self) -> dict[str, Any]:
        """The base with the shape of its adapters."""
        return {"kind": "adapted", "base": self.base.describe(), "rank": self.rank, "alpha": self.alpha}

    def forward(self, system: System, geometry: Geometry) -> Prediction:
        """The base with adapted weights."""
        made: Prediction = functional_call(self.base, self.adapted(), (system, geometry))
        return made

    def adapted(self) -> dict[str, Tensor]:
        """Every adapted weight, by its name in the base."""
        return {
            name: weight + (self.alpha / self.ranks[name]) * (self.into[_key(name)] @ self.out[_key(name)])
            for name, weight in channel_matrices(self.base)
        }

    def merged(self) -> Potential:
        """A model of the base's kind with the adapters added to its weights."""
        plain = copy.deepcopy(self.base)
        with torch.no_grad():
            parameters = dict(plain.named_parameters())
            for name, weight in self.adapted().items():
                parameters[name].copy_(weight)
        return plain


def merged(adapted: Potential) -> Potential:
    """`Adapted.merged`, for whoever holds any potential."""
    assert isinstance(adapted, Adapted)
    return adapted.merged()


def channel_matrices(potential: Potential) -> Iterator[tuple[str, Tensor]]:
    """Name and value of every weight that is a stack of matrices of channels, in the order of the modules."""
    for prefix, module in potential.named_modules():
        for own in _MAPS.get(type(module), ()):
            for name, parameter in module.named_parameters():
                if name == own or name.startswith(f"{own}."):
                    yield (f"{prefix}.{name}" if prefix else name), parameter


def free_heads(potential: Potential) -> None:
    """Let the heads be trained, whatever the rest is."""
    for part in potential.modules():
        if isinstance(part, Model):
            part.heads.requires_grad_(True)


def _key(name: str) -> str:
    return name.replace(".", "/")  # a dot would be a path to a ParameterDict
