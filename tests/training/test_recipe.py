"""Recipes say what they mean, or are refused."""

from pathlib import Path

import pytest

from groundstate.atoms import OptionError
from groundstate.potentials.mace import MACEConfig
from groundstate.training import FinetuneConfig, TrainConfig, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def written(folder: Path, text: str) -> Path:
    file = folder / "recipe.toml"
    file.write_text(text)
    return file


def test_values_reach_the_configurations(tmp_path: Path) -> None:
    model_table = "[model]\ncutoff = 4\nradial_widths = [8, 4]\n"
    train_tables = "[train]\nepochs = 7\nlearning_rate = 1\n[train.weights]\nforces = 3\n"
    model, config, *_ = load_recipe(written(tmp_path, model_table + train_tables))
    assert model == MACEConfig(cutoff=4.0, radial_widths=(8, 4))
    assert config == TrainConfig(epochs=7, learning_rate=1.0, weights={"forces": 3.0})


def test_a_size_is_a_start_that_keys_override(tmp_path: Path) -> None:
    model, config, *_ = load_recipe(written(tmp_path, '[model]\nsize = "S"\nchannels = 5\n'))
    assert model.channels == 5
    assert model.layers == MACEConfig.of_size("S").layers
    assert config == TrainConfig()


def test_what_is_stated_is_told_from_what_is_default(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, '[train]\nepochs = 200\n[finetune]\nmethod = "lora"\nalpha = 8\n'))
    assert recipe.stated == {"epochs": 200, "method": "lora", "alpha": 8.0}
    assert recipe.finetune == FinetuneConfig(method="lora", alpha=8.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nlearning_rat = 0.1", r"E-OPTION-UNKNOWN.*'learning_rate'"),
        ("[model]\nchanels = 8", r"E-OPTION-UNKNOWN.*'channels'"),
        ("[trian]\n", r"E-OPTION-UNKNOWN.*'train'"),
        ("[finetune]\nmethod = 'lore'", r"E-OPTION-CHOICE.*'lora'"),
        ("[train.weights]\nforce = 1.0", r"E-QUANTITY-UNKNOWN.*'forces'"),
        ("[train]\nepochs = 1.5", r"E-OPTION-TYPE"),
        ('[train]\nseed = "one"', r"E-OPTION-TYPE"),
        ('[train]\nloss = "hubert"', r"E-OPTION-CHOICE.*'huber'"),
        ("[train\n", "E-RECIPE"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_recipe(written(tmp_path, text))


@pytest.mark.parametrize("file", RECIPES, ids=[file.stem for file in RECIPES])
def test_shipped_recipes_are_valid_and_short(file: Path) -> None:
    load_recipe(file)
    assert len(file.read_text().splitlines()) <= 40
