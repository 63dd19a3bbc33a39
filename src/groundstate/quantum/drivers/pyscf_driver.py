"""PySCF at work: Kohn–Sham, Hartree–Fock, MP2, CCSD and CCSD(T) of molecules, with analytic gradients.

Settings are the fields of `engines.pyscf.PySCF`. Forces of a Kohn–Sham calculation include the response of the grid, so
they are the derivative of the energy to the last digits. Checked: tests/quantum/test_pyscf_engine.py
"""

from typing import Any

import numpy as np
import pyscf
from pyscf import cc, dft, gto, mp, scf
from pyscf.cc import ccsd_t_lambda
from pyscf.data.nist import AU2DEBYE, BOHR, HARTREE2EV
from pyscf.grad import ccsd_t

CORRELATED = ("MP2", "CCSD", "CCSD(T)")

Arrays = dict[str, Any]
"""A structure, or an answer: arrays by name."""


class NotConvergedError(Exception):
    """The iterations ended without a solution."""

    code = "E-SCF-NOT-CONVERGED"


class NoForcesError(Exception):
    """Forces that would not be the derivative of the energy."""

    code = "E-PROPERTY-UNDEFINED"


class Molecules:
    """Answers under fixed settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.facts = {"version": pyscf.__version__}

    def __call__(self, structures: list[Arrays], want: list[str]) -> list[Arrays | Exception]:
        return [_attempt(structure, want, self.settings) for structure in structures]


def start(settings: dict[str, Any]) -> Molecules:
    """What `external/worker.py` asks of a driver."""
    return Molecules(settings)


def _attempt(structure: Arrays, want: list[str], settings: Arrays) -> Arrays | Exception:
    try:
        return _calculate(structure, set(want), settings)
    except Exception as error:  # noqa: BLE001 — one molecule that fails must not end the others
        return error


def _calculate(structure: Arrays, want: set[str], settings: Arrays) -> Arrays:
    molecule = gto.M(
        atom=[(int(z), tuple(r)) for z, r in zip(structure["numbers"], structure["positions"])],  # noqa: B905
        unit="Angstrom",
        charge=round(float(structure.get("charge", 0.0))),
        spin=int(structure.get("multiplicity", 1)) - 1,
        basis=settings["basis"],
        ecp=_core_potentials(structure, settings),
        verbose=0,
    )
    field = _mean_field(molecule, settings)
    if settings["stability"]:
        field = _lowest(field)
    if settings["method"] in CORRELATED:
        return _correlated(field, want, settings)
    found = {"energy": field.e_tot * HARTREE2EV}
    if "forces" in want:
        gradient = field.nuc_grad_method()
        if settings["method"] != "HF":
            gradient.grid_response = True
        found["forces"] = -gradient.kernel() * HARTREE2EV / BOHR
    if "dipole" in want:
        found["dipole"] = field.dip_moment(unit="Debye", verbose=0) / AU2DEBYE * BOHR
    if "charges" in want:
        found["charges"] = field.mulliken_pop(verbose=0)[1]
    if want & {"excitation_energies", "oscillator_strengths"}:
        found.update(_excited(field, settings))
    return {name: value for name, value in found.items() if name in want}


def _core_potentials(structure: Arrays, settings: Arrays) -> str | None:
    # The def2 bases of elements beyond krypton are made for their effective core potentials.
    heavy = bool((structure["numbers"] > 36).any())
    return settings["basis"] if heavy and settings["basis"].lower().startswith("def2") else None


def _mean_field(molecule: Any, settings: Arrays) -> Any:
    open_shell = molecule.spin != 0
    if settings["method"] in ("HF", *CORRELATED):
        field = (scf.UHF if open_shell else scf.RHF)(molecule)
    else:
        field = (dft.UKS if open_shell else dft.RKS)(molecule, xc=settings["method"])
        field.grids.level = settings["grid_level"]
        if settings["dispersion"] != "none":
            field.disp = {"D3(BJ)": "d3bj", "D4": "d4"}[settings["dispersion"]]
        if settings["density_fitting"]:
            field = field.density_fit()
    field.conv_tol, field.max_cycle = settings["energy_tolerance_Ha"], settings["max_cycles"]
    field.kernel()
    if not field.converged:  # Newton's method is slower per cycle and finds what DIIS does not
        field = field.newton()
        field.max_cycle = settings["max_cycles"]
        field.kernel()
        if not field.converged:
            raise NotConvergedError(f"no self-consistent field in 2 × {settings['max_cycles']} cycles")
        field = field.undo_newton()
    return field


def _lowest(field: Any) -> Any:
    """The solution that is stable against rotations of its orbitals, found in at most three descents."""
    for _ in range(3):
        orbitals, _, stable, _ = field.stability(return_status=True)
        if stable:
            return field
        field.kernel(field.make_rdm1(orbitals, field.mo_occ))
        if not field.converged:
            break
    raise NotConvergedError("no stable solution was found: the state is not the ground state of its multiplicity")


def _correlated(field: Any, want: set[str], settings: Arrays) -> Arrays:
    method = settings["method"]
    if method == "CCSD(T)" and "forces" in want and field.mol.spin != 0:
        # Tried with PySCF 2.14: they differ from differences of energies by 0.01 eV/Å, with and without frozen core.
        raise NoForcesError(
            "PySCF's forces of open shells by CCSD(T) are not the derivative of its energy;"
            " want the energy alone, or take CCSD"
        )
    wave = mp.MP2(field) if method == "MP2" else cc.CCSD(field)
    if settings["frozen_core"]:
        wave.set_frozen()
    if method == "MP2":
        wave.kernel()
        gradient = wave.nuc_grad_method().kernel() if "forces" in want else None
        found = {"energy": wave.e_tot}
    else:
        wave.conv_tol, wave.conv_tol_normt, wave.max_cycle = settings["energy_tolerance_Ha"], 1e-7, 100
        wave.kernel()
        if not wave.converged:
            raise NotConvergedError("the coupled-cluster amplitudes did not converge in 100 cycles")
        triples = wave.ccsd_t() if method == "CCSD(T)" else 0.0
        found = {"energy": wave.e_tot + triples}
        gradient = _coupled_cluster_gradient(wave, method) if "forces" in want else None
    found["energy"] *= HARTREE2EV
    if gradient is not None:
        found["forces"] = -gradient * HARTREE2EV / BOHR
    return {name: value for name, value in found.items() if name in want}


def _coupled_cluster_gradient(wave: Any, method: str) -> Any:
    """∂E/∂r in Ha/bohr. The triples have Λ amplitudes of their own; with those of CCSD forces are 0.01 eV/Å off."""
    if method == "CCSD":
        return wave.nuc_grad_method().kernel()
    integrals = wave.ao2mo()
    converged, l1, l2 = ccsd_t_lambda.kernel(wave, integrals, wave.t1, wave.t2, tol=1e-8)
    if not converged:
        raise NotConvergedError("the Λ amplitudes of CCSD(T) did not converge")
    return ccsd_t.Gradients(wave).kernel(wave.t1, wave.t2, l1, l2, eris=integrals)


def _excited(field: Any, settings: Arrays) -> Arrays:
    response = field.TDDFT()
    response.nstates, response.conv_tol = settings["states"], 1e-7
    response.kernel()
    if not np.all(response.converged):
        raise NotConvergedError("the excited states did not converge")
    return {
        "excitation_energies": np.asarray(response.e) * HARTREE2EV,
        "oscillator_strengths": np.asarray(response.oscillator_strength()),
    }
