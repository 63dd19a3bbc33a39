"""Processes and devices, through Lightning Fabric."""

from typing import Any

from groundstate.atoms import RunError
from groundstate.training.config import TrainConfig


def start_fabric(config: TrainConfig) -> Any:
    """A launched `lightning_fabric.Fabric`. With `devices` > 1 it starts this program once more per further device,
    unless torchrun or SLURM has already done so."""
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING", "training needs lightning-fabric", fix="install it: pip install 'groundstate[train]'"
        ) from None
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy="auto" if config.devices == 1 else "ddp",
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(
            "E-DEVICE-MISSING",
            f"{config.devices} × '{config.accelerator}' cannot be had here ({error})",
            fix="see `groundstate doctor` for what this machine offers",
        ) from error
    fabric.launch()
    return fabric
