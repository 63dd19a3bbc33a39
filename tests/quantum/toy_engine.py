"""An engine that costs nothing: springs to the origin, a note of every structure it computes, failures on request."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from groundstate.atoms import Domain, GroundstateError, LevelOfTheory, System
from groundstate.quantum import Engine

DRIVER = """
import os, time
import numpy as np

class NotConverged(Exception):
    code = "E-SCF-NOT-CONVERGED"

class Springs:
    facts = {"version": "1.0"}

    def __init__(self, settings):
        self.settings = settings

    def __call__(self, structures, want):
        return [self.one(structure) for structure in structures]

    def one(self, structure):
        r, k = structure["positions"], self.settings["stiffness"]
        with open(self.settings["log"], "a") as log:
            log.write(f"{r[0, 0]:.6f}\\n")
        time.sleep(self.settings["seconds"])
        if 9 in structure["numbers"]:
            return NotConverged("the density oscillates")
        if 10 in structure["numbers"]:
            os._exit(3)
        stress = np.eye(3) * 1e-3
        return {"energy": 0.5 * k * (r**2).sum(), "forces": -k * r, "stress": stress}

def start(settings):
    return Springs(settings)
"""


@dataclass(frozen=True)
class Springs:
    """½ k r² per atom; fluorine does not converge, neon kills the process."""

    folder: str
    stiffness: float = 2.0
    seconds: float = 0.0

    @property
    def log(self) -> str:
        return str(Path(self.folder) / "computed.txt")

    @property
    def name(self) -> str:
        return "springs"

    @property
    def provides(self) -> frozenset[str]:
        return frozenset({"energy", "forces", "stress"})

    @property
    def domain(self) -> Domain:
        return Domain(charge="ignores", multiplicity="accepts")

    @property
    def driver(self) -> Path:
        path = Path(self.folder) / "springs.py"
        if not path.exists():
            path.write_text(DRIVER.replace('self.settings["log"]', repr(self.log)), encoding="utf-8")
        return path

    def interpreter(self) -> str | None:
        return None

    def theory(self, facts: Mapping[str, Any]) -> LevelOfTheory:
        return LevelOfTheory("springs", code=f"springs {facts['version']}")

    def refusal(self, single: System) -> GroundstateError | None:
        return None

    def finer(self) -> dict[str, Engine]:
        return {"stiffer": replace(self, stiffness=1.1 * self.stiffness)}

    def computed(self) -> list[str]:
        """A line for every structure that was ever computed."""
        path = Path(self.log)
        return path.read_text().split() if path.exists() else []


def atom(x: float, number: int = 2, **conditions: Any) -> System:
    """One atom at x."""
    return System.single([[x, 0.0, 0.0]], [number], **conditions)
