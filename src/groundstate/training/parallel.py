"""Processes and devices, through Lightning Fabric."""

import os
from typing import Any

from groundstate.atoms import RunError
from groundstate.training.config import TrainConfig


def start_fabric(config: TrainConfig) -> Any:
    """A launched `lightning_fabric.Fabric`: the processes that torchrun or SLURM started, where one of them did; else
    this program once more for each of `devices` beyond the first."""
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise RunError(
            "E-EXTRA-MISSING", "training needs lightning-fabric", fix="install it: pip install 'groundstate[train]'"
        ) from None
    nodes, each = _started() or (1, config.devices)
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=each,
            num_nodes=nodes,
            strategy="auto" if nodes * each == 1 else "ddp",
        )
    except (RuntimeError, ValueError) as error:
        raise RunError(
            "E-DEVICE-MISSING",
            f"{nodes * each} × '{config.accelerator}' cannot be had here ({error})",
            fix="see `groundstate doctor` for what this machine offers",
        ) from error
    fabric.launch()
    return fabric


def _started() -> tuple[int, int] | None:
    """Nodes, and processes on each, that a launcher has started; `None` where this process started by itself."""
    from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

    if TorchElasticEnvironment.detect():
        each = int(os.environ["LOCAL_WORLD_SIZE"])
        return int(os.environ["WORLD_SIZE"]) // each, each
    if SLURMEnvironment.detect():
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return nodes, max(1, int(os.environ["SLURM_NTASKS"]) // nodes)
    return None
