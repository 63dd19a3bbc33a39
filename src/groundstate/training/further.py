"""A trained model of our own on its way: more labels, and heads for quantities it did not give."""

import os
from collections.abc import Sequence

from groundstate.atoms import OptionError
from groundstate.data import Record
from groundstate.potentials import Model, Potential
from groundstate.potentials.mace import grown
from groundstate.training.aims import DIFFERENTIATED
from groundstate.training.config import TrainConfig
from groundstate.training.result import TrainResult
from groundstate.training.runs import train


def train_further(
    start: Potential,
    train_records: Sequence[Record],
    valid_records: Sequence[Record],
    config: TrainConfig,
    output_dir: str | os.PathLike[str],
    *,
    progress: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Train all weights of a copy of `start` on these labels, as `train_from_scratch` trains new ones.

    This is the next stage of a long training, not fine-tuning: nothing of the old is kept on purpose, reference
    energies stay where they are, and there may be any number of frames. A quantity with a weight that `start` does not
    give becomes a head of it, if it is one a MACE can have. What `start` remembers is kept unless `config.remember`
    asks for structures of this stage.
    Raises OptionError where `start` is not a MACE of ours. Checked: tests/training/test_further.py
    """
    if not isinstance(start, Model) or start.describe()["kind"] != "mace":
        raise OptionError(
            "E-START-KIND",
            f"training cannot go on from '{start.describe()['kind']}'",
            why="its weights are not those of a model of ours",
            fix="start from a model file of ours, or use `finetune`, which learns the difference to a public model",
        )
    wanted = sorted(name for name, weight in config.weights.items() if weight > 0)
    missing = [name for name in wanted if name not in DIFFERENTIATED | start.provides]
    potential = grown(start, missing, seed=config.seed).requires_grad_(True)
    potential.remembered = start.remembered
    return train(
        potential,
        train_records,
        valid_records,
        config,
        output_dir,
        notes={"start": start.fingerprint()},
        progress=progress,
        overwrite=overwrite,
    )
