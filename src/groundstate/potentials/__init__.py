"""Floor 2: energies of structures, their derivatives, and the forms in which a potential is kept and lent out."""

from groundstate.potentials.committee import Committee, disagreement
from groundstate.potentials.derive import evaluate, hessian, periodic_projector, refuse_not_finite
from groundstate.potentials.model import Head, Model, NodeFeatures, Term, Trunk
from groundstate.potentials.potential import Energy, Potential, Prediction, Sum
from groundstate.potentials.terms import MACEZBL, ZBL, ReferenceEnergies, ShortRange

__all__ = [
    "MACEZBL",
    "ZBL",
    "Committee",
    "Energy",
    "Head",
    "Model",
    "NodeFeatures",
    "Potential",
    "Prediction",
    "ReferenceEnergies",
    "ShortRange",
    "Sum",
    "Term",
    "Trunk",
    "disagreement",
    "evaluate",
    "hessian",
    "periodic_projector",
    "refuse_not_finite",
]
