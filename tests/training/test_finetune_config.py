"""What is chosen from the amount of data stays within sense, and keeps the work."""

from math import ceil

import pytest

from groundstate.atoms import OptionError
from groundstate.training import FinetuneConfig, TrainConfig, choose, from_scratch


@pytest.mark.parametrize("n", [2, 10, 50, 1000])
def test_choices(n: int) -> None:
    chosen, scratch = choose(n, continued=True), TrainConfig(**from_scratch(n))
    config, plan = TrainConfig(**chosen.train), FinetuneConfig(**chosen.finetune)
    assert config.batch_size <= n
    assert config.learning_rate < TrainConfig().learning_rate
    assert 0.99 <= config.ema_decay < 1
    steps, others = (c.epochs * ceil(n / c.batch_size) for c in (config, scratch))
    assert steps >= 1500
    assert steps / (1 - plan.replay_share) == pytest.approx(others, rel=0.05)
    assert choose(n, continued=True, method="lora").train["learning_rate"] > config.learning_rate
    assert choose(n, continued=False).finetune == {"method": "full", "replay_share": 0.0}


def test_more_data_average_over_more_steps() -> None:
    decays = [choose(n, continued=True).train["ema_decay"] for n in (10, 100, 1000)]
    assert decays == sorted(decays)
    assert decays[0] < decays[-1]


@pytest.mark.parametrize("wrong", [{"method": "lor"}, {"rank": 0}, {"alpha": 0.0}, {"replay_share": 1.0}])
def test_impossible_plans_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="E-OPTION"):
        FinetuneConfig(**wrong)
