"""Memory that runs out costs speed and no result; forecasts are told; what cannot fit is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from groundstate.api import predict
from groundstate.atoms import Domain, System
from groundstate.potentials import Potential, evaluate
from groundstate.simulation import RelaxConfig, memory, relax
from groundstate.simulation.engine import Engine, Shortage
from hungry import Hungry
from toys import lennard_jones

WANT = ("energy", "forces", "strain_gradient")


class Small(Potential):
    """The toy potential on a machine that holds so many atoms; `words` is what its allocator raises."""

    domain, cutoff, theories = Domain(), 4.5, ()

    def __init__(self, most: int, words: Exception) -> None:
        super().__init__()
        self.inner, self.most, self.words = lennard_jones(cutoff=4.5), most, words
        self.sizes: list[int] = []

    def describe(self):
        return {"kind": "toy-small"}

    def forward(self, system, geometry):
        self.sizes.append(system.n_atoms)
        if system.n_atoms > self.most:
            raise self.words
        return self.inner(system, geometry)


WORDS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried …"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("Failed to allocate 1024 bytes on device 'cuda:0'"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    RuntimeError("std::bad_alloc"),
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: type(words).__name__ + str(words)[:12])
def test_a_batch_that_does_not_fit_is_computed_in_halves_and_remembered(words, crystal):
    potential = Small(9, words)
    system = System.batch([crystal(seed) for seed in range(5)])
    engine = Engine(potential, 0.5)
    found, errors = engine.evaluate(system, WANT)
    expected = evaluate(potential.inner, system, WANT)
    assert not errors
    assert isinstance(engine.shortage, Shortage)
    assert engine.shortage.computed <= 9 < 12
    for name in WANT:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-11)
    potential.sizes.clear()
    engine.evaluate(system, WANT)
    assert max(potential.sizes) <= 9  # not tried again
    engine.select([0, 1, 2])
    assert not engine.evaluate(system.select([0, 1, 2]), WANT)[1]


def test_one_structure_that_does_not_fit_marks_itself(crystal):
    system = System.batch([crystal(1), crystal(2, repeats=2), crystal(3)])
    found, errors = Engine(Small(9, MemoryError("16 GB")), 0.5).evaluate(system, WANT)
    assert {s: error.code for s, error in errors.items()} == {1: "E-OUT-OF-MEMORY"}
    assert torch.isfinite(found["energy"]).tolist() == [True, False, True]


def test_other_runtime_errors_are_not_taken_for_memory(crystal):
    with pytest.raises(RuntimeError, match="shapes"):
        Engine(Small(1, RuntimeError("shapes do not match")), 0.5).evaluate(crystal(1), WANT)


def test_relaxation_goes_on_and_says_so(crystal):
    batch = [crystal(1), crystal(2), crystal(3, repeats=2), crystal(4)]
    config = RelaxConfig(force_tolerance=0.05, cell="full")
    results = relax(System.batch(batch), Small(9, MemoryError()), config)
    assert [r.status for r in results] == ["converged", "converged", "diverged", "converged"]
    assert results[2].code == "E-OUT-OF-MEMORY"
    assert all(any("memory ran out" in note for note in r.notes) for r in results)
    for k in (0, 1, 3):
        alone = relax(batch[k], lennard_jones(cutoff=4.5), config)[0]
        assert (results[k].steps, results[k].energy) == (alone.steps, pytest.approx(alone.energy, abs=1e-10))


def test_a_larger_machine_continues_where_memory_ran_out(crystal, tmp_path):
    system = System.batch([crystal(1), crystal(2, repeats=2)])
    config = RelaxConfig(force_tolerance=0.05)
    small, large = Small(9, MemoryError()), Small(10**6, MemoryError())
    assert [r.code for r in relax(system, small, config, output=tmp_path)] == ["", "E-OUT-OF-MEMORY"]
    assert all(r.converged for r in relax(system, large, config, output=tmp_path))
    large.sizes.clear()
    assert all(r.converged for r in relax(system, large, config, output=tmp_path))
    assert large.sizes == []  # both are on disk now


def test_predictions_go_on_in_halves_too(crystal):
    batch = [crystal(1), crystal(2, repeats=2), crystal(3), crystal(4)]
    results = predict(batch, Small(9, MemoryError()))
    assert [None if r.problem is None else r.problem.code for r in results] == [None, "E-OUT-OF-MEMORY", None, None]
    expected = evaluate(lennard_jones(cutoff=4.5), batch[3], ("energy",))["energy"]
    assert float(results[3].values["energy"]) == pytest.approx(float(expected), abs=1e-10)


linux = pytest.mark.skipif(memory.available(torch.device("cpu")) is None, reason="this system does not tell")


@linux
def test_the_cost_of_an_atom_is_measured_and_divides_scarce_memory():
    """In a process of its own; tests/hungry.py says why."""
    script = Path(__file__).parents[1] / "hungry.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["measured"] == pytest.approx(found["taken"], rel=0.25)
    assert found["fit"] == pytest.approx(memory.SHARE * 40e6 / found["taken"], rel=0.3)
    assert "MB per atom" in found["message"]


def test_forecasts_choose_the_batch_and_refuse_what_is_too_large(crystal, monkeypatch):
    small, large = [crystal(seed, repeats=3, amplitude=0.02) for seed in (1, 2, 3)], crystal(4, repeats=4)
    told = memory.Forecast(120, "0.5 MB per atom, 0.1 GB available: up to 120 atoms together")
    monkeypatch.setattr(memory, "forecast", lambda *_: told)
    said, sizes = [], Small(10**6, MemoryError())
    config = RelaxConfig(force_tolerance=0.3)
    results = relax(System.batch([*small, large]), sizes, config, progress=said.append)
    assert [r.status for r in results] == ["converged"] * 3 + ["invalid"]
    assert results[3].code == "E-MEMORY-FORECAST"
    assert "120" in results[3].reason
    assert max(sizes.sizes) == 108
    assert said[0].message == told.message
    by_hand = relax(large, sizes, RelaxConfig(force_tolerance=10.0, max_atoms_per_batch=10_000))
    assert by_hand[0].converged  # a limit given by hand lifts the forecast


def test_nothing_is_probed_where_memory_is_plenty(crystal, monkeypatch):
    probed = Small(10**6, MemoryError())
    monkeypatch.setattr(memory, "available", lambda device: 1 << 40)
    assert memory.forecast(probed, crystal(1), WANT).atoms == 4
    monkeypatch.setattr(memory, "available", lambda device: None)
    assert memory.forecast(probed, crystal(1), WANT).atoms is None
    assert probed.sizes == []


@linux
def test_a_large_structure_is_probed_by_a_ball_with_neighbours_as_inside(crystal):
    large = crystal(1, repeats=6, amplitude=0.01)
    piece = memory._piece(large)
    assert piece.n_atoms == memory.PIECE < large.n_atoms
    cost = memory.measured(Hungry(), large, WANT)
    graph = Engine(Hungry(), 0.0).neighbours.graph(large)
    assert cost.edges_per_atom == pytest.approx(graph.n_edges / large.n_atoms, rel=0.25)


def test_control_groups_are_read(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    assert memory._left_in_group(tmp_path) == 450
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left_in_group(tmp_path) is None
    assert memory._left_in_group(tmp_path / "nowhere") is None
