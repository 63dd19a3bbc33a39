"""A model that holds at the nearest distances of the data it was taught, from one that does not: nothing it says of
these data changes.

    python recipes/groundstate_0/hold.py S-many/model.safetensors --taught sets-0.3/train --output S-0.3.safetensors

For models made before `hold_at_nearest`, and their descendants; see `groundstate.potentials.mace.Hold`.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from groundstate.data.store import open_store
from groundstate.potentials import checkpoint
from groundstate.potentials.mace import MACEConfig, rebuild
from groundstate.training.nearest import take_nearest


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--taught", type=Path, required=True, help="store of everything that was learned from")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    given = checkpoint.load(options.model)
    description = given.describe()
    config = replace(MACEConfig.from_dict(description["config"]), hold_at_nearest=True)
    model = rebuild({**description, "config": config.as_dict()})
    model.load_state_dict({**model.state_dict(), **given.state_dict()})
    model.remembered = given.remembered
    take_nearest(model, open_store(options.taught), progress=True)
    training = dict(checkpoint.inspect(options.model)["notes"].get("training", {}))
    training.pop("result", None)  # it has the place of the file where it was trained
    notes = {"training": training, "held": {"of": given.fingerprint()}}
    checkpoint.save(model.eval(), options.output, notes=notes)
    print(f"{given.fingerprint()} -> {model.fingerprint()}")


if __name__ == "__main__":
    main()
