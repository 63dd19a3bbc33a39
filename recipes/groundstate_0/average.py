"""The mean of the weights of models of one shape: between two of one training the loss is often lower than at either.

    python recipes/groundstate_0/average.py S-relatives/model.safetensors S-many/model.safetensors --output S

A model named several times counts as often. Wortsman et al., Model soups, ICML 2022.
"""

import argparse
from pathlib import Path

import torch

from groundstate.potentials import checkpoint


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    loaded = [checkpoint.load(file) for file in options.models]
    states = [model.state_dict() for model in loaded]
    mean = {
        name: torch.stack([s[name].double() for s in states]).mean(0).to(first) for name, first in states[0].items()
    }
    loaded[0].load_state_dict(mean)
    notes = {"training": {"mean_of": [model.fingerprint() for model in map(checkpoint.load, options.models)]}}
    print(checkpoint.save(loaded[0], options.output, notes=notes))


if __name__ == "__main__":
    main()
