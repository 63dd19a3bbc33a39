"""Floor 5: one training loop over an aim, from a scratch model or a public one, resumable to the last bit."""

from groundstate.training.aims import Aim, FitLabels, Part
from groundstate.training.config import TrainConfig
from groundstate.training.distil import hessian_rows
from groundstate.training.error_table import ErrorRow, ErrorTable, evaluate_errors
from groundstate.training.finetune import finetune
from groundstate.training.recipe import Recipe, load_recipe
from groundstate.training.result import TrainResult
from groundstate.training.runs import train
from groundstate.training.scratch import mean_neighbours, train_from_scratch

__all__ = [
    "Aim",
    "ErrorRow",
    "ErrorTable",
    "FitLabels",
    "Part",
    "Recipe",
    "TrainConfig",
    "TrainResult",
    "evaluate_errors",
    "finetune",
    "hessian_rows",
    "load_recipe",
    "mean_neighbours",
    "train",
    "train_from_scratch",
]
