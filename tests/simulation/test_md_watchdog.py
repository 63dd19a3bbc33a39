"""The watchdog stops the structure that goes wrong, with its last good frame and the cause, and no other."""

import pytest
import torch

from groundstate.atoms import OptionError, System
from groundstate.atoms.contract import CLOSEST
from groundstate.simulation import MDConfig, Watchdog, run_md
from groundstate.simulation.dynamics.watchdog import LineFit
from toys import fcc, lennard_jones


def config(**options) -> MDConfig:
    return MDConfig(**({"steps": 60, "timestep_fs": 2.0, "temperature_K": 300.0, "record_every": 1} | options))


def test_bad_structures_stop_and_the_others_do_not_notice(faulty, crystal, tmp_path):
    nan = fcc().replace(positions=torch.full((4, 3), torch.nan, dtype=torch.float64))
    closing = fcc(26, 4.4)
    closing.positions[1, 2] -= 0.2
    batch = [crystal(1), nan, fcc(79), closing, crystal(2)]
    results = run_md(System.batch(batch), faulty, config(), output=tmp_path / "run")
    assert [r.status for r in results] == ["completed", "invalid", "stopped", "stopped", "completed"]
    assert results[1].code == "E-POSITION-NOT-FINITE"
    assert results[2].code == "E-RESULT-NOT-FINITE"
    assert results[3].code in ("E-ATOMS-CLOSE", "E-MD-FORCE", "E-MD-HOT", "E-MD-ENERGY")
    assert 0 < results[3].steps < 60
    assert torch.isfinite(results[3].system.positions).all()
    assert results[2].reason.startswith("step 0:")
    assert "nan" not in (tmp_path / "run" / "stopped_00002.extxyz").read_text()
    stopped = (tmp_path / "run" / "stopped_00003.extxyz").read_text()
    assert f'cause="{results[3].code}"' in stopped
    for k in (0, 4):
        alone = run_md(batch[k], faulty, config(seed=k))[0]
        torch.testing.assert_close(results[k].system.positions, alone.system.positions, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("limits", "options", "code"),
    [
        (Watchdog(max_temperature_K=200.0), {"temperature_K": 20.0}, "E-MD-HOT"),
        (Watchdog(max_force=0.3), {"temperature_K": 900.0}, "E-MD-FORCE"),
        (
            Watchdog(max_drift_meV_per_atom_ps=1e-3, drift_after_ps=0.02),
            {"timestep_fs": 8.0, "temperature_K": 900.0},
            "E-MD-DRIFT",
        ),
    ],
)
def test_each_limit_stops(potential, crystal, limits, options, code):
    rattling = 0.2 if code == "E-MD-HOT" else 0.005  # its energy becomes heat
    result = run_md(crystal(1, 3.56, rattling), potential, config(watchdog=limits, **options))[0]
    assert (result.status, result.code) == ("stopped", code)
    assert result.reason.startswith(f"step {result.steps + 1}:")


def test_atoms_that_meet_are_named():
    """Two atoms without a core that keeps them apart, on a collision course."""
    pair = System.single([[30.0, 0, 0], [0, 0, 0], [1.5, 0, 0]], [29, 29, 29])
    towards = torch.tensor([[0, 0, 0], [0.01, 0, 0], [-0.01, 0, 0]], dtype=torch.float64)
    result = run_md(pair, lennard_jones(sigma=0.6, cutoff=3.0), config(), velocities=towards)[0]
    assert result.code == "E-ATOMS-CLOSE"
    assert "atoms 1 and 2" in result.reason
    distance = float(torch.linalg.vector_norm(result.system.positions[2] - result.system.positions[1]))
    assert CLOSEST * 2 * 1.32 < distance < 1.2


@pytest.mark.parametrize("options", [{"max_force": 0.0}, {"max_temperature_K": -5.0}, {"drift_after_ps": 0.0}])
def test_limits_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="E-OPTION-RANGE"):
        Watchdog(**options)


def test_line_fit_equals_least_squares():
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(50, dtype=torch.float64)
    y = -1e4 + 0.03 * x + torch.randn(50, generator=generator, dtype=torch.float64)
    fit = LineFit()
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        fit.add(a, b)
    design = torch.stack([x, torch.ones_like(x)], dim=1)
    solution = torch.linalg.lstsq(design, y[:, None]).solution[:, 0]
    assert fit.slope == pytest.approx(float(solution[0]), rel=1e-9)
    residual = y - design @ solution
    assert fit.scatter == pytest.approx(float((residual**2).mean().sqrt()), rel=1e-9)
