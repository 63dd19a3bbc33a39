"""Floor 0: what an atom, a structure, a distance, a quantity and an error are. Knows no model."""

from groundstate.atoms.contract import Allowances, Domain, Verdict, check, check_moved, judge
from groundstate.atoms.errors import (
    DataError,
    GroundstateError,
    ModelError,
    OptionError,
    RunError,
    StructureError,
    UndefinedPropertyError,
    nearest,
)
from groundstate.atoms.geometry import Edges, Geometry
from groundstate.atoms.neighbours import Graph, count_edges, find_neighbours, join_graphs, pair_distances
from groundstate.atoms.quantities import Quantity, quantities, quantity
from groundstate.atoms.system import System
from groundstate.atoms.theory import LevelOfTheory
from groundstate.atoms.verlet import VerletList

__all__ = [
    "Allowances",
    "DataError",
    "Domain",
    "Edges",
    "Geometry",
    "Graph",
    "GroundstateError",
    "LevelOfTheory",
    "ModelError",
    "OptionError",
    "Quantity",
    "RunError",
    "StructureError",
    "System",
    "UndefinedPropertyError",
    "Verdict",
    "VerletList",
    "check",
    "check_moved",
    "count_edges",
    "find_neighbours",
    "join_graphs",
    "judge",
    "nearest",
    "pair_distances",
    "quantities",
    "quantity",
]
