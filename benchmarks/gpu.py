"""What a GPU makes of a model: the same numbers as plain torch, and in which time.

    python benchmarks/gpu.py mptrj-random-1k.xyz [--device cuda] [--channels 64]

An untrained model of degree 3, correlation 2, in float32, on real crystals: neighbours found on the device against cell
lists on the host, edge by edge; energies, forces, stresses and gradients by kernels against plain torch on the same
device; then milliseconds for forces and for a step of training, with kernels and without, and the memory they take.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from groundstate.atoms import find_neighbours
from groundstate.data import Batch, Record, collate, elements_of, read
from groundstate.equivariant.operators import derivatives
from groundstate.potentials import Potential, evaluate
from groundstate.potentials.mace import MACEConfig
from groundstate.potentials.mace.trunk import MACETrunk
from groundstate.training.aims import FitLabels
from groundstate.training.scratch import build_for

AIM = FitLabels({"energy": 1.0, "forces": 10.0, "stress": 100.0})
WANTED = ("energy", "forces", "stress")
GRAPH = ("receivers", "senders", "shifts", "receiver_ptr", "reverse")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128, 512], help="crystals evaluated together")
    options = parser.parse_args()
    records = [r for r in read(options.frames).records if {"energy", "forces", "stress"} <= r.labels.keys()]
    config = MACEConfig(channels=options.channels, lmax=3, hidden_lmax=1, correlation=2, radial_widths=(64, 32))
    model = build_for(records[:100], config, dict.fromkeys(elements_of(records), -5.0), 0).to(options.device)
    batch = collate(records[: options.batches[0]]).to(options.device)
    neighbours(batch, config.cutoff)
    accuracy(model, batch)
    for size in options.batches:
        times(model, records, size, options.device)


def neighbours(batch: Batch, cutoff: float) -> None:
    """Whether the device and the host list the same edges."""
    tried, listed = (
        find_neighbours(batch.system, cutoff, method="all_pairs"),
        find_neighbours(batch.system, cutoff, method="cell_list"),
    )
    equal = all(torch.equal(getattr(tried, name), getattr(listed, name)) for name in GRAPH)
    print(f"{listed.n_edges} edges, {'the same' if equal else 'NOT the same'} by all pairs and by cell lists")


def accuracy(model: Potential, batch: Batch) -> None:
    """Largest deviations of kernels from plain torch."""
    with_kernels = evaluate(model, batch.system, WANTED), gradients(model, batch)
    with Plain():
        plain = evaluate(model, batch.system, WANTED), gradients(model, batch)
    for name in WANTED:
        one, other = with_kernels[0][name], plain[0][name]
        print(f"{name}: deviates by {float((one - other).abs().max()):.1e}, is at most {float(other.abs().max()):.3g}")
    worst = max(
        float((a - b).norm() / b.norm().clamp_min(1e-30)) for a, b in zip(with_kernels[1], plain[1], strict=True)
    )
    print(f"gradients by parameters: deviate by {worst:.1e} relative to each")


def times(model: Potential, records: list[Record], size: int, device: str) -> None:
    """One line for kernels, one for plain torch while it is small."""
    batch = collate((records * (1 + size // len(records)))[:size]).to(device)
    atoms = batch.system.n_atoms
    for name, way in (("kernels", None), ("plain torch", Plain())):
        if way is not None and atoms > 3000:
            continue
        if way is not None:
            way.__enter__()
        forces = milliseconds(lambda: evaluate(model, batch.system, WANTED), device)
        step = milliseconds(lambda: gradients(model, batch), device)
        if way is not None:
            way.__exit__()
        each = f"{1e3 * forces / atoms:.1f} and {1e3 * step / atoms:.1f} µs/atom"
        print(f"{atoms} atoms, {name}: forces {forces:.1f} ms, training {step:.1f} ms: {each}", flush=True)


def gradients(model: Potential, batch: Batch) -> list[Tensor]:
    """Of a loss by every parameter."""
    parameters = list(model.parameters())
    parts = AIM.loss(model, batch, differentiable=True)
    loss = torch.stack([AIM.weights[name] * part.loss / part.count for name, part in parts.items()]).sum()
    with derivatives("parameters"):
        return list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))


def milliseconds(work: Callable[[], object], device: str, repeats: int = 10) -> float:
    """Mean time of a call after two that warm up."""

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(2):
        work()
    wait()
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    wait()
    return 1e3 * (time.perf_counter() - begin) / repeats


class Plain:
    """Within it trunks use plain torch whatever kernels are at hand; forces on a CPU keep its native engine."""

    def __enter__(self) -> None:
        self._kept = MACETrunk._neighbours
        MACETrunk._neighbours = MACETrunk._plain_neighbours  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        MACETrunk._neighbours = self._kept  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
