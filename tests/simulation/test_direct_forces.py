"""Constant energy and forces that are no derivative of one: refused before anything starts, unless allowed by name."""

from pathlib import Path

import pytest

from groundstate.atoms import Allowances, OptionError
from groundstate.potentials import Potential
from groundstate.simulation import MDConfig, run_md
from toys import fcc, lennard_jones


class Direct(type(lennard_jones())):  # type: ignore[misc]
    """Says of itself that its forces are an output of their own."""

    conservative = False


def direct() -> Potential:
    potential = lennard_jones()
    potential.__class__ = Direct
    return potential


def config(ensemble: str) -> MDConfig:
    return MDConfig(steps=2, temperature_K=50.0, timestep_fs=1.0, ensemble=ensemble)


def test_constant_energy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as refusal:
        run_md(fcc(), direct(), config("nve"), output=tmp_path / "run")
    assert refusal.value.code == "E-DIRECT-FORCES"
    assert not (tmp_path / "run").exists()


def test_it_is_allowed_by_name_and_with_a_thermostat() -> None:
    (by_name,) = run_md(fcc(), direct(), config("nve"), allow=Allowances(direct_forces=True))
    (thermostat,) = run_md(fcc(), direct(), config("langevin"))
    (conservative,) = run_md(fcc(), lennard_jones(), config("nve"))
    assert [result.status for result in (by_name, thermostat, conservative)] == ["completed"] * 3
