"""One run from records to a model file."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import torch

from groundstate.atoms import RunError, System
from groundstate.data import Record
from groundstate.data.files import owned_folder
from groundstate.potentials import Potential
from groundstate.potentials.checkpoint import save
from groundstate.training.aims import Aim, FitLabels
from groundstate.training.config import TrainConfig
from groundstate.training.error_table import ErrorTable, panels_of, table_of
from groundstate.training.identity import data_hash, theories_of
from groundstate.training.loop import Loop
from groundstate.training.nearest import take_nearest
from groundstate.training.parallel import start_fabric
from groundstate.training.pictures import parity
from groundstate.training.preflight import refuse_contradictions
from groundstate.training.report import Report
from groundstate.training.result import TrainResult
from groundstate.training.run_folder import RunFolder
from groundstate.training.stopping import SharedFate


def train(
    potential: Potential,
    train_records: Sequence[Record],
    valid_records: Sequence[Record],
    config: TrainConfig,
    output_dir: str | os.PathLike[str],
    *,
    aim: Aim | None = None,
    assemble: Callable[[Potential], Potential] | None = None,
    before: ErrorTable | None = None,
    notes: Mapping[str, Any] | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Train the parameters of `potential` that require gradients, in place, and write the best model.

    The same call on the same folder continues a run that was killed, and returns the result of one that has finished.

    aim       what is optimised; the labels of `config.weights` when `None`
    assemble  makes the model to save from the trained potential: a correction added to its base
    before    errors to compare with in the result; those of `potential` as given when `None`
    progress  one line with the time remaining
    overwrite delete what is in the folder first
    Raises before the first step when data, model and options contradict each other, and RunError when the loss stops
    being a number; the last checkpoint then stays as it is.
    """
    aim = aim or FitLabels(config.weights, loss=config.loss, huber_delta=config.huber_delta)
    refuse_contradictions(potential, train_records, valid_records, aim, config)
    # Before anything is learned: structures that do not go together are refused now, not after hours.
    remembered = _some(train_records, config.remember, config.seed) if config.remember else None
    fabric, folder = start_fabric(config), RunFolder(output_dir)
    identity = {
        "config": config.as_dict(),
        "aim": aim.name,
        "data": {"train": data_hash(train_records), "valid": data_hash(valid_records)},
        "potential": potential.fingerprint(),
    }
    with SharedFate(fabric), _claimed(fabric, folder, identity, overwrite):
        take_nearest(potential, train_records, progress=progress and fabric.is_global_zero)
        loop = Loop(fabric, potential, aim, config, folder, train_records, valid_records)
        loop.resume()
        written = folder.read_json("result.json") is not None
        if not loop.stopped:
            written = False
            loop.look_before(before)
            logged = config.tensorboard and fabric.is_global_zero
            shown = progress and fabric.is_global_zero
            start = loop.state.counters.epoch
            with Report(folder, epochs=config.epochs, start=start, progress=shown, tensorboard=logged) as report:
                loop.fit(report)
        result = _result(loop, assemble or (lambda trained: trained), draw=fabric.is_global_zero and not written)
        if remembered is not None:
            result.potential.remembered = remembered
        if fabric.is_global_zero and not written:
            theories = [theory.as_dict() for theory in theories_of(train_records).values()]
            # Files are handed on, and folders are nobody else's.
            told = {name: value for name, value in result.as_dict().items() if name != "model"}
            story = {**identity, **(notes or {}), "theories": theories, "result": told}
            story["versions"] = {name: version(name) for name in ("groundstate", "torch", "lightning-fabric")}
            save(result.potential, folder.model, notes={"training": story})
            folder.write_json("result.json", result.as_dict())
        fabric.barrier()
        return result


def _some(records: Sequence[Record], count: int, seed: int) -> System:
    """That many structures, or all, by a choice that the seed fixes."""
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(seed))
    return System.batch([records[i].system for i in order[:count].tolist()])


def _result(loop: Loop, assemble: Callable[[Potential], Potential], *, draw: bool) -> TrainResult:
    """The best averaged weights, and what they are worth."""
    counters = loop.state.counters
    loop.state.use_best()
    loop.state.potential.eval()
    columns = loop.errors_by_record()
    after = table_of(columns, loop.valid_records)
    if draw and columns:
        loop.folder.write("parity.png", parity(panels_of(columns, loop.valid_records)))
    return TrainResult(
        path=loop.folder.model,
        potential=assemble(loop.state.potential),
        best=counters.best,
        history=tuple(counters.history),
        before=ErrorTable.from_dict(counters.before or after.as_dict()),
        after=after,
        stopped=loop.stopped,
        seconds=counters.elapsed_s,
    )


@contextmanager
def _claimed(fabric: Any, folder: RunFolder, identity: Mapping[str, Any], overwrite: bool) -> Iterator[None]:
    """The folder belongs to this run; a refusal in the writing process ends all of them."""
    with ExitStack() as held:
        refusal = None
        if fabric.is_global_zero:
            try:
                held.enter_context(owned_folder(folder.path))
                folder.claim(identity, overwrite=overwrite)
            except RunError as error:
                refusal = error
        refusal = fabric.broadcast(refusal)
        if refusal is not None:
            raise refusal
        yield
