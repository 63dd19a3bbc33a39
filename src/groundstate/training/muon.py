"""Steps along orthogonalised momentum for maps between channels, Adam for all other weights.

K. Jordan and others, Muon (2024); the size of a step after Liu et al., arXiv:2502.16982. Checked:
tests/training/test_muon.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

MOMENTUM = 0.95
ROOT_MEAN_SQUARE = 0.2
"""Of the step of a map, in learning rates: about what Adam's has in the middle of a training."""
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_QUINTIC, _ROUNDS = (3.4445, -4.7750, 2.0315), 5
"""Of x ↦ a x + b x³ + c x⁵, which takes singular values from [0.01, 1] into [0.7, 1.2] within these rounds."""
_NARROWEST = 16


def is_map(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is a map between channels, or several [..., from, to].

    Its last two axes are wide. Those of an embedding of many elements are too, but it has rows, not directions.
    """
    return parameter.ndim > 1 and min(parameter.shape[-2:]) >= _NARROWEST and not name.endswith("embedding")


class Muon(torch.optim.Optimizer):
    """Muon for maps, each of those in a stack by itself, Adam for others; weights decay apart from either, as in AdamW.

    A map whose gradient is zero, as those of elements that no structure of a step has, rests in that step.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], lr: float, weight_decay: float, amsgrad: bool) -> None:
        groups = [
            {"params": [p for name, p in parameters.items() if is_map(name, p) == maps], "maps": maps}
            for maps in (True, False)
        ]
        defaults = {"lr": lr, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of every weight that has a gradient."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if group["maps"]:
                self._maps(moved, group)
            else:
                self._others(moved, group)

    def _maps(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        by_shape: dict[tuple[int, ...], list[Tensor]] = {}
        for parameter in parameters:
            by_shape.setdefault(tuple(parameter.shape[-2:]), []).append(parameter)
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        # Together where shapes are alike: dozens of small products cost more to begin than to compute.
        for shape, alike in by_shape.items():
            gradients = torch.cat([_gradient(p).reshape(-1, *shape) for p in alike])
            kept = gradients.new_ones(len(gradients), 1, 1)
            momenta = torch.cat([self.state[p]["momentum"].reshape(-1, *shape) for p in alike])
            used = gradients.abs().amax((-1, -2)).nonzero().flatten()
            fresh, moves = gradients[used], torch.zeros_like(gradients)
            kept[used] -= group["lr"] * group["weight_decay"]
            momenta[used] = torch.lerp(momenta[used], fresh, 1 - MOMENTUM)
            moves[used] = orthogonalised(torch.lerp(fresh, momenta[used], MOMENTUM))
            size = group["lr"] * ROOT_MEAN_SQUARE * max(shape) ** 0.5
            counts = [p.numel() // (shape[0] * shape[1]) for p in alike]
            parts = (rows.split(counts) for rows in (momenta, moves, kept))
            for parameter, momentum, move, share in zip(alike, *parts, strict=True):
                self.state[parameter]["momentum"].copy_(momentum.reshape(parameter.shape))
                parameter.mul_(share.reshape(*parameter.shape[:-2], 1, 1))
                parameter.sub_(move.reshape(parameter.shape), alpha=size)

    def _others(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if group["amsgrad"] else ()))
                self.state[parameter] |= {name: torch.zeros_like(parameter) for name in names}
                self.state[parameter]["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        kept = [self.state[parameter] for parameter in parameters]
        adam(
            parameters,
            [_gradient(parameter) for parameter in parameters],
            [state["exp_avg"] for state in kept],
            [state["exp_avg_sq"] for state in kept],
            [state["max_exp_avg_sq"] for state in kept] if group["amsgrad"] else [],
            [state["step"] for state in kept],
            fused=True,
            amsgrad=group["amsgrad"],
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=group["lr"],
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def orthogonalised(matrices: Tensor) -> Tensor:
    """Of each of a stack the nearest with orthonormal rows or columns, roughly: singular values become 0.7 to 1.2."""
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-30)
    a, b, c = _QUINTIC
    for _ in range(_ROUNDS):
        square = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT
