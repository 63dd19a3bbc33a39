"""GPAW: crystals by plane-wave PAW density-functional theory; in an environment of its own, for it is GPL."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundstate.atoms import Domain, GroundstateError, LevelOfTheory, OptionError, RunError, StructureError, System
from groundstate.atoms.elements import symbols
from groundstate.external import Environment
from groundstate.quantum.engine import (
    DRIVERS,
    Engine,
    coarse_mesh,
    in_range,
    one_of,
    refused_as_crystal,
)

ENVIRONMENT = Environment(
    "gpaw",
    ("gpaw>=26.7", "ase>=3.29"),
    variables={"GPAW_CONFIG": str(DRIVERS / "gpaw_siteconfig.py")},
    imports="gpaw",
)
LIBRARIES = "g++ libxc-dev libopenblas-dev libfftw3-dev"
"""Debian packages that GPAW is compiled with."""
HARD = frozenset({1, 7, 8, 9})
"""Elements whose PAW functions need the full cutoff: H, N, O, F."""
LEAST_CUTOFF_eV = 700.0
"""With oxygen, 500 and 600 eV give stresses of MgO that are wrong by 5 to 10 GPa."""
LARGEST_K_SPACING_PER_A = 0.5
MAGNETIC = frozenset({24, 25, 26, 27, 28, *range(58, 71)})
"""Cr, Mn, Fe, Co, Ni and the 4f metals: their ground states are magnetic in most solids."""


@dataclass(frozen=True)
class GPAW:
    """Crystals; energy, forces, stress at fixed cutoff and a mesh of k-points that follows the cell.

    method              functional of libxc or GPAW: "PBE", "LDA", "PBEsol", …
    cutoff_eV           plane waves of the wave functions
    k_spacing_per_A     largest distance of k-points (Å⁻¹, 2π included); metals want 0.2
    k_mesh              points along the reciprocal vectors instead · gamma: whether the mesh holds Γ
    smearing_eV         width of the Fermi–Dirac occupations
    energy              "free": the electronic free energy, to which the forces belong; "extrapolated": its σ→0 limit
    moments             ((symbol, μB), …) that start a spin-polarised calculation; structures with Fe, Co, Ni, Mn, Cr
                        or a 4f metal are refused until it is stated
    hubbard_u           ((symbol, U in eV), …) on d shells
    allow_coarse        k-meshes and cutoffs that are known to be too coarse, by name
    The net force of GPAW's real-space grid (some 1e-3 eV/Å) is taken off the forces.
    """

    method: str = "PBE"
    cutoff_eV: float = 800.0
    k_spacing_per_A: float = 0.35
    k_mesh: tuple[int, int, int] | None = None
    gamma: bool = True
    smearing_eV: float = 0.1
    energy: str = "free"
    moments: tuple[tuple[str, float], ...] = ()
    hubbard_u: tuple[tuple[str, float], ...] = ()
    energy_tolerance_eV: float = 1e-6
    density_tolerance: float = 1e-5
    max_cycles: int = 333
    allow_coarse: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "moments", tuple((str(s), float(m)) for s, m in self.moments))
        object.__setattr__(self, "hubbard_u", tuple((str(s), float(u)) for s, u in self.hubbard_u))
        if self.k_mesh is not None:
            object.__setattr__(self, "k_mesh", tuple(int(n) for n in self.k_mesh))
        one_of("energy", self.energy, ("free", "extrapolated"))
        in_range("cutoff_eV", self.cutoff_eV, 200.0, 2000.0)
        in_range("smearing_eV", self.smearing_eV, 0.0, 0.5)
        in_range("k_spacing_per_A", self.k_spacing_per_A, 0.05, 2.0)
        if self.k_spacing_per_A > LARGEST_K_SPACING_PER_A and not self.allow_coarse:
            raise OptionError(
                "E-K-MESH-COARSE",
                f"k_spacing_per_A={self.k_spacing_per_A:g} is coarser than {LARGEST_K_SPACING_PER_A:g}",
                why="band energies between the points are guessed, and errors of forces and soft modes go unseen",
                fix="use 0.35 for insulators and 0.2 for metals, or allow it by name (allow_coarse)",
            )

    @property
    def name(self) -> str:
        return "gpaw"

    @property
    def provides(self) -> frozenset[str]:
        return frozenset({"energy", "forces", "stress", "magnetic_moments"})

    @property
    def domain(self) -> Domain:
        """A charged cell has no energy of its own: it depends on the background that neutralises it."""
        return Domain(charge="ignores", multiplicity="ignores")

    @property
    def driver(self) -> Path:
        return DRIVERS / "gpaw_driver.py"

    def interpreter(self) -> str | None:
        """That of its environment; RunError E-ENGINE-MISSING with the lines that make it."""
        if not ENVIRONMENT.installed:
            raise RunError(
                "E-ENGINE-MISSING",
                "gpaw is not installed",
                why="it is GPL and compiled, and runs in an environment of its own",
                fix=f"apt install {LIBRARIES}, then add --install to this command; or name an interpreter that has it"
                f" in {ENVIRONMENT.variable}",
            )
        return ENVIRONMENT.python

    def theory(self, facts: Mapping[str, Any]) -> LevelOfTheory:
        """Functional, +U, cutoff and k-mesh, setups."""
        k = f"k {self.k_mesh}" if self.k_mesh else f"k ≤ {self.k_spacing_per_A:g} Å⁻¹"
        spin = ", spin-polarised" if self.moments else ""
        return LevelOfTheory(
            self.method,
            hubbard_u=self.hubbard_u,
            basis=f"PW {self.cutoff_eV:g} eV, {k}, Fermi–Dirac {self.smearing_eV:g} eV, {self.energy} energy{spin}",
            pseudopotential=f"GPAW PAW setups ({facts['setups']})",
            code=f"GPAW {facts['version']}",
            energy_zero="isolated spin-paired reference atoms of the setups",
        )

    def refusal(self, single: System) -> GroundstateError | None:
        """Molecules, coarse settings, and magnets without moments."""
        if problem := refused_as_crystal(single, "gpaw"):
            return problem
        if not self.allow_coarse:
            if problem := coarse_mesh(single, self.k_mesh, LARGEST_K_SPACING_PER_A):
                return problem
            hard = sorted(HARD & set(single.numbers.tolist()))
            if hard and self.cutoff_eV < LEAST_CUTOFF_eV:
                return StructureError(
                    "E-CUTOFF-LOW",
                    f"a cutoff of {self.cutoff_eV:g} eV is too low for {', '.join(symbols(hard))}",
                    why="500 to 600 eV with oxygen gives stresses wrong by 5 to 10 GPa, and costs about the same",
                    fix="use cutoff_eV=800, or allow it by name (allow_coarse)",
                )
        magnetic = sorted((MAGNETIC & set(single.numbers.tolist())) if not self.moments else ())
        if magnetic:
            return StructureError(
                "E-MOMENTS-UNSTATED",
                f"{', '.join(symbols(magnetic))} may be magnetic and no moments were given to start from",
                why="a calculation without spin finds another state, for iron 0.5 eV/atom higher",
                fix="state moments, e.g. [['Fe', 2.3]]; 0 says that it is meant without",
            )
        return None

    def finer(self) -> dict[str, Engine]:
        """A denser mesh, a higher cutoff."""
        spacing = 0.7 * self.k_spacing_per_A
        cutoff = round(1.25 * self.cutoff_eV)
        better: dict[str, Engine] = {f"cutoff {cutoff} eV": replace(self, cutoff_eV=float(cutoff))}
        if self.k_mesh is None:
            better[f"k ≤ {spacing:.3g} Å⁻¹"] = replace(self, k_spacing_per_A=spacing)
        else:
            one, two, three = (n + max(1, round(0.4 * n)) for n in self.k_mesh)
            better[f"k {(one, two, three)}"] = replace(self, k_mesh=(one, two, three))
        return better
