"""Base units are eV, Å, amu, e, K; the derived ones and the conversions at the borders follow from CODATA 2018.

Time has the unit Å·√(amu/eV) ≈ 10.18 fs, so that acceleration is simply force / mass.
Checked: tests/atoms/test_units.py (against ASE and the SI definitions).
"""

from math import pi, sqrt

ELEMENTARY_CHARGE_C = 1.602176634e-19
BOLTZMANN_J_PER_K = 1.380649e-23
ATOMIC_MASS_kg = 1.66053906660e-27
VACUUM_PERMITTIVITY_F_PER_m = 8.8541878128e-12
HARTREE_J = 4.3597447222071e-18
BOHR_m = 5.29177210903e-11

BOLTZMANN = BOLTZMANN_J_PER_K / ELEMENTARY_CHARGE_C
"""eV/K"""
FEMTOSECOND = 1e-15 / (1e-10 * sqrt(ATOMIC_MASS_kg / ELEMENTARY_CHARGE_C))
"""One femtosecond in Å·√(amu/eV)."""
GIGAPASCAL = 1e9 * 1e-30 / ELEMENTARY_CHARGE_C
"""One GPa in eV/Å³."""
KILOBAR = 0.1 * GIGAPASCAL
"""One kbar in eV/Å³; VASP prints stress in kbar with the opposite sign."""
HARTREE = HARTREE_J / ELEMENTARY_CHARGE_C
"""eV"""
BOHR = BOHR_m * 1e10
"""Å"""
COULOMB = ELEMENTARY_CHARGE_C / (4 * pi * VACUUM_PERMITTIVITY_F_PER_m) * 1e10
"""1/(4πε₀) in eV·Å/e²."""
