"""A run a user would repeat, as a TOML file of tables `[model]`, `[train]` and, of fine-tuning, `[finetune]`."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args, get_type_hints

from groundstate.atoms import OptionError, nearest
from groundstate.potentials.mace import MACEConfig
from groundstate.training.config import TrainConfig
from groundstate.training.finetune_config import FinetuneConfig

_TABLES = ("model", "train", "finetune")


class Recipe(NamedTuple):
    """The model to build, how to train and to tune it; and, by name, which options of the two latter were stated.

    shaped  whether the recipe says anything of the model
    """

    model: MACEConfig
    train: TrainConfig
    finetune: FinetuneConfig = FinetuneConfig()
    stated: Mapping[str, Any] = MappingProxyType({})
    shaped: bool = False


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe. A key that does not exist is refused with the nearest that does; absent keys keep their defaults.

    `[model]` may name a `size`, which the other keys of that table then override.
    Raises OptionError. Checked: tests/training/test_recipe.py
    """
    file = Path(path)
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise OptionError(
            "E-RECIPE", f"the recipe cannot be read ({error})", file=str(file), fix="check the path, or mend the line"
        ) from error
    _refuse_unknown(document, _TABLES, "the recipe", file)
    model = dict(document.get("model", {}))
    base = MACEConfig.of_size(str(model.pop("size"))) if "size" in model else MACEConfig()
    train = _configured(TrainConfig(), document.get("train", {}), "[train]", file)
    tuned = _configured(FinetuneConfig(), document.get("finetune", {}), "[finetune]", file)
    stated = {key: getattr(train, key) for key in document.get("train", {})}
    stated |= {key: getattr(tuned, key) for key in document.get("finetune", {})}
    return Recipe(_configured(base, model, "[model]", file), train, tuned, stated, "model" in document)


def _configured(defaults: Any, table: Mapping[str, Any], name: str, file: Path) -> Any:
    _refuse_unknown(table, [f.name for f in fields(defaults)], name, file)
    hints = get_type_hints(type(defaults))
    return replace(defaults, **{key: _typed(hints[key], value, f"{name} {key}", file) for key, value in table.items()})


def _typed(hint: Any, value: Any, name: str, file: Path) -> Any:
    """The value as the option declares it: TOML writes 10 where Python wants 10.0, and lists where it wants tuples."""
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return {key: float(number) if type(number) is int else number for key, number in value.items()}
    allowed = [kind for kind in (get_args(hint) or (hint,)) if kind in (bool, int, float, str)]
    if type(value) is int and float in allowed and int not in allowed:
        return float(value)
    if allowed and type(value) not in allowed:
        raise OptionError(
            "E-OPTION-TYPE",
            f"{name} is {value!r}",
            file=str(file),
            fix=f"write a {' or '.join(kind.__name__ for kind in allowed)}",
        )
    return value


def _refuse_unknown(table: Mapping[str, Any], known: Any, name: str, file: Path) -> None:
    for key in table:
        if key not in known:
            raise OptionError(
                "E-OPTION-UNKNOWN",
                f"{name} has no option '{key}'",
                file=str(file),
                why="an option that is not read would seem to have been obeyed",
                fix=nearest(key, known),
            )
