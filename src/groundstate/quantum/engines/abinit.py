"""ABINIT: the answer of an insulating crystal to an electric field: Born charges, ε∞, LO–TO gaps at Γ."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundstate.atoms import Domain, GroundstateError, LevelOfTheory, OptionError, RunError, System
from groundstate.quantum.engine import DRIVERS, Engine, coarse_mesh, in_range, one_of, refused_as_crystal

FUNCTIONALS = ("LDA", "PBE")
DEBIAN = "/usr/share/abinit/psp/Pseudodojo_nc_sr_04_pw_standard_psp8"
"""Where Debian's abinit-data keeps norm-conserving LDA pseudopotentials; its PBE set has gaps."""
LARGEST_K_SPACING_PER_A = 0.5


@dataclass(frozen=True)
class Abinit:
    """Insulating crystals by density-functional perturbation theory; the program is the `abinit` of this machine.

    method              "PBE" or "LDA"
    pseudopotentials    folder of <symbol>.psp8 files, or of PAW setups <symbol>.<method>.xml or .gz as GPAW ships them;
                        by default Debian's norm-conserving set for LDA; PBE must name one
    cutoff_Ha, fine_cutoff_Ha   plane waves, and the finer mesh of PAW
    k_spacing_per_A, k_mesh, k_shifts   as for GPAW; several shifts make one denser mesh
    neutrality_e        largest violation of Σ Z* = 0 that is accepted, e; above 0.2 the k-mesh is too coarse
    born_charges, dielectric_tensor (ε∞), phonon_frequencies_TO and _LO (cm⁻¹, [3·atom], imaginary ones negative; LO
    along x) and neutrality_violation come from one run. Z* is made neutral after the violation is measured.
    """

    method: str = "PBE"
    pseudopotentials: str = ""
    cutoff_Ha: float = 30.0
    fine_cutoff_Ha: float = 60.0
    k_spacing_per_A: float = 0.4
    k_mesh: tuple[int, int, int] | None = None
    k_shifts: tuple[tuple[float, float, float], ...] = ((0.5, 0.5, 0.5),)
    residual: float = 1e-11
    response_residual: float = 1e-6
    max_cycles: int = 60
    neutrality_e: float = 0.2
    allow_coarse: bool = False

    def __post_init__(self) -> None:
        one_of("method", self.method, FUNCTIONALS)
        object.__setattr__(self, "k_shifts", tuple((float(x), float(y), float(z)) for x, y, z in self.k_shifts))
        if self.k_mesh is not None:
            object.__setattr__(self, "k_mesh", tuple(int(n) for n in self.k_mesh))
        if not self.pseudopotentials and self.method == "LDA":
            object.__setattr__(self, "pseudopotentials", DEBIAN)
        in_range("cutoff_Ha", self.cutoff_Ha, 10.0, 200.0)
        in_range("fine_cutoff_Ha", self.fine_cutoff_Ha, self.cutoff_Ha, 500.0)
        in_range("k_spacing_per_A", self.k_spacing_per_A, 0.05, 2.0 if self.allow_coarse else LARGEST_K_SPACING_PER_A)
        in_range("neutrality_e", self.neutrality_e, 0.0, 0.2)
        if not Path(self.pseudopotentials).is_dir() or not self.pseudopotentials:
            raise OptionError(
                "E-PSEUDOPOTENTIALS",
                f"there is no folder '{self.pseudopotentials}' of {self.method} pseudopotentials",
                fix="give one: GPAW's setups folder works for PBE (gpaw_data/setups in its environment), "
                "apt install abinit-data brings LDA",
            )

    @property
    def name(self) -> str:
        return "abinit"

    @property
    def provides(self) -> frozenset[str]:
        response = {"born_charges", "dielectric_tensor", "neutrality_violation"}
        phonons = {"phonon_frequencies_TO", "phonon_frequencies_LO"}
        return frozenset({"energy", "forces", "stress", *response, *phonons})

    @property
    def domain(self) -> Domain:
        """A charged cell has no energy of its own."""
        return Domain()

    @property
    def driver(self) -> Path:
        return DRIVERS / "abinit_driver.py"

    def interpreter(self) -> str | None:
        """The interpreter running now; the program must be on the path."""
        if shutil.which("abinit") is None or shutil.which("anaddb") is None:
            raise RunError("E-ENGINE-MISSING", "abinit is not installed", fix="apt install abinit abinit-data")
        return None

    def theory(self, facts: Mapping[str, Any]) -> LevelOfTheory:
        """Functional, cutoffs and k-mesh, pseudopotentials."""
        k = f"k {self.k_mesh} × {len(self.k_shifts)}" if self.k_mesh else f"k ≤ {self.k_spacing_per_A:g} Å⁻¹"
        return LevelOfTheory(
            self.method,
            basis=f"PW {self.cutoff_Ha:g} Ha, {k}, insulator",
            pseudopotential=f"{Path(self.pseudopotentials).name} ({facts['pseudopotentials']})",
            code=f"ABINIT {facts['version']}",
            energy_zero="pseudo-cores and electrons at rest",
        )

    def refusal(self, single: System) -> GroundstateError | None:
        """Molecules and coarse meshes."""
        if problem := refused_as_crystal(single, "abinit"):
            return problem
        return None if self.allow_coarse else coarse_mesh(single, self.k_mesh, LARGEST_K_SPACING_PER_A)

    def finer(self) -> dict[str, Engine]:
        """A denser mesh, a higher cutoff."""
        cutoff = round(1.25 * self.cutoff_Ha)
        fine = max(self.fine_cutoff_Ha, 2.0 * cutoff)
        better: dict[str, Engine] = {f"cutoff {cutoff} Ha": replace(self, cutoff_Ha=float(cutoff), fine_cutoff_Ha=fine)}
        if self.k_mesh is None:
            spacing = 0.7 * self.k_spacing_per_A
            better[f"k ≤ {spacing:.3g} Å⁻¹"] = replace(self, k_spacing_per_A=spacing)
        else:
            one, two, three = (n + max(1, round(0.4 * n)) for n in self.k_mesh)
            better[f"k {(one, two, three)}"] = replace(self, k_mesh=(one, two, three))
        return better
