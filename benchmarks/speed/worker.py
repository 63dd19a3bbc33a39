"""What every contender's process does: load once, then answer one measurement for each line of standard input.

A contender's script calls `serve` with its class. Needs numpy and ASE, which every contender has. The first line holds
the contender's settings, each further one a request; every answer is one line of JSON into the file descriptor that the
settings name. Pinning, threads and allocator are set by whoever starts the process.
"""

import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

_WARM_UPS, _SETTLED_S = 3, 1.0
"""Runs before the clock starts: just-in-time compilers want some; runs that together last this long suffice."""
_RESET_PEAK = "5"
"""What Linux wants to hear in clear_refs to forget the highest resident size."""


class Contender(Protocol):
    """A potential in its own environment."""

    packages: tuple[str, ...]

    def __init__(self, settings: dict[str, Any]) -> None: ...

    def calculator(self, **options: Any) -> Calculator:
        """As its users make it; options are those of a request."""

    def evaluation(self, atoms: ase.Atoms) -> Callable[[], tuple[float, Any]]:
        """Energy, forces and stress with neighbours already found; gives energy and forces."""

    def training(self, frames: list[dict[str, Any]]) -> Callable[[], None]:
        """One step of optimisation on these labelled structures."""


def serve(contender_type: type[Contender]) -> None:
    """Load, say what was loaded, answer until standard input ends."""
    settings = json.loads(sys.stdin.readline())
    answers = os.fdopen(settings["answers"], "w", buffering=1)
    started = time.process_time()
    contender = contender_type(settings)
    loading = time.process_time() - started
    structures = json.loads(Path(settings["structures"]).read_text())
    hello = {
        "loading_s": loading,
        "loaded_MB": _memory("VmRSS"),
        "versions": {"python": sys.version.split()[0]} | {name: metadata.version(name) for name in contender.packages},
    }
    print(json.dumps(hello), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _TASKS[request["task"]](contender, structures[request["structure"]], request)
            answer |= {"load": os.getloadavg()[0], "at": time.time()}
        except Exception as error:  # noqa: BLE001 — a contender may fail in any way; its row says how
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers)


def structure(plain: dict[str, Any]) -> ase.Atoms:
    """ASE atoms of an entry of the file of structures, fully periodic."""
    return ase.Atoms(plain["numbers"], positions=plain["positions"], cell=plain["cell"], pbc=True)


def _evaluate(contender: Contender, plain: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """The potential alone."""
    before = _memory("VmRSS")
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    evaluation = contender.evaluation(structure(plain))
    values: dict[str, float] = {}

    def run() -> None:
        energy, forces = evaluation()
        if not values:
            size = float(np.sqrt(np.mean(np.square(np.asarray(forces, dtype=np.float64)))))
            values.update(energy=float(energy), force_rms=size)

    found = _timed(run, request)
    return found | {"values": values, "memory_before_MB": before, "memory_peak_MB": _memory("VmHWM")}


def _call(contender: Contender, plain: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """The ASE calculator on atoms that moved a little since the last call."""
    atoms, calculator = structure(plain), contender.calculator(**request.get("options", {}))
    generator = np.random.default_rng(0)
    origin = atoms.positions.copy()

    def run() -> None:
        atoms.positions = origin + generator.normal(scale=1e-3, size=origin.shape)
        calculator.calculate(atoms, ["energy", "forces", "stress"], ["positions"])

    return _timed(run, request)


def _crystals(contender: Contender, plain: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """The ASE calculator on one crystal after the other; each sample is all of them."""
    crystals, calculator = [structure(one) for one in plain], contender.calculator()

    def run() -> None:
        for atoms in crystals:
            calculator.calculate(atoms, ["energy", "forces", "stress"], ["positions", "numbers", "cell"])

    return _timed(run, request)


def _dynamics(contender: Contender, plain: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Steps of ASE's velocity Verlet from 300 K, 1 fs each; a sample is the mean over a block of steps.

    Every fourth block begins anew: untrained weights would otherwise drive atoms into each other before long.
    """
    atoms, steps = structure(plain), request["steps"]
    atoms.calc = contender.calculator(**request.get("options", {}))
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 1 * units.fs)
    positions, momenta, blocks = atoms.positions.copy(), atoms.get_momenta(), count()

    def block() -> None:
        if next(blocks) % 4 == 0:
            atoms.set_positions(positions)
            atoms.set_momenta(momenta)
        dynamics.run(steps)

    found = _timed(block, request)
    for clock in ("cpu", "wall"):
        found[clock] = [value / steps for value in found[clock]]
    return found


def _train(contender: Contender, plain: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """Optimisation steps on one batch of labelled structures."""
    return _timed(contender.training(plain), request)


_TASKS = {"evaluate": _evaluate, "call": _call, "crystals": _crystals, "dynamics": _dynamics, "train": _train}


def _timed(run: Callable[[], object], request: dict[str, Any]) -> dict[str, Any]:
    """Seconds of `run`, processor time and wall time, after warming up: at least two, more within the budget."""
    wall = time.perf_counter()
    for _ in range(_WARM_UPS):
        run()
        if time.perf_counter() - wall > _SETTLED_S:
            break
    cpu_s: list[float] = []
    wall_s: list[float] = []
    while len(cpu_s) < request.get("least", 2) or (sum(wall_s) < request["budget_s"] and len(cpu_s) < 50):
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        cpu_s.append(time.process_time() - cpu)
        wall_s.append(time.perf_counter() - wall)
    return {"cpu": cpu_s, "wall": wall_s}


def _memory(field: str) -> float:
    """MB of this process: VmRSS is resident now, VmHWM was at most."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")
