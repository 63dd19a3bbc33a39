"""Floor 5: one training loop over an aim, from a scratch model or a public one, resumable to the last bit."""

from groundstate.training.adapters import Adapted
from groundstate.training.advice import Advice
from groundstate.training.advise import AdviceConfig, advise, blocked
from groundstate.training.aims import Aim, FitLabels, Part
from groundstate.training.certificate import Certificate
from groundstate.training.config import TrainConfig
from groundstate.training.distil import hessian_rows
from groundstate.training.error_table import ErrorRow, ErrorTable, evaluate_errors
from groundstate.training.finetune import CONTINUED, finetune
from groundstate.training.finetune_config import Choice, FinetuneConfig, choose, from_scratch
from groundstate.training.further import train_further
from groundstate.training.recipe import Recipe, load_recipe
from groundstate.training.result import TrainResult
from groundstate.training.runs import train
from groundstate.training.scratch import mean_neighbours, train_from_scratch

__all__ = [
    "CONTINUED",
    "Adapted",
    "Advice",
    "AdviceConfig",
    "Aim",
    "Certificate",
    "Choice",
    "ErrorRow",
    "ErrorTable",
    "FinetuneConfig",
    "FitLabels",
    "Part",
    "Recipe",
    "TrainConfig",
    "TrainResult",
    "advise",
    "blocked",
    "choose",
    "evaluate_errors",
    "finetune",
    "from_scratch",
    "hessian_rows",
    "load_recipe",
    "mean_neighbours",
    "train",
    "train_from_scratch",
    "train_further",
]
