"""The certificate of a tuned model: what became better, what worse, what was forgotten, what moved, who judged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from groundstate.data import Record
from groundstate.laws import LAWS, as_table, examine
from groundstate.potentials import Potential, checkpoint
from groundstate.training.base_labels import levels_of, shifted
from groundstate.training.before_after import (
    Diatomic,
    Moved,
    Nearness,
    VolumeCurve,
    diatomics,
    moved,
    nearness,
    volume_curves,
)
from groundstate.training.error_table import ErrorTable, evaluate_errors
from groundstate.training.replay import Replay
from groundstate.training.run_folder import RunFolder

LARGEST_RISE = 0.05
"""Of the base's own error on structures it was made for: more is called forgotten."""
LARGEST_DRIFT = 0.1
"""Of the root mean square force, where there are no labels to measure errors of the base by."""
EXAMINED = tuple(name for name in LAWS if not name.startswith("nve"))
"""Laws before and after: all but those that need a trajectory."""
_MOST_ELEMENTS = 4
_FILE = "certificate.json"


@dataclass(frozen=True)
class BaseSet:
    """What the tuned model says where the base was right, on structures it did not see.

    source   of the structures · frames to judge by
    before, after   errors of base and tuned model by the structures' own labels; `before` is `None` where they have
             none, and `after` then measures against the base itself
    rise     labels: relative rise of the mean absolute error of forces · none: root mean square change of the forces
             relative to their root mean square · `None` without any structure
    """

    source: str
    frames: int
    before: ErrorTable | None
    after: ErrorTable | None
    rise: float | None

    @property
    def forgotten(self) -> bool:
        """Whether more changed than is allowed."""
        return self.rise is not None and self.rise > (LARGEST_DRIFT if self.before is None else LARGEST_RISE)


@dataclass(frozen=True)
class LawChange:
    """One law before and after: "pass", "FAIL" or "does not apply"; measured numbers in `unit`."""

    law: str
    before: str
    after: str
    measured: tuple[float | None, float | None]
    tolerance: float | None
    unit: str


@dataclass(frozen=True, eq=False)
class Certificate:
    """Evidence for and against a tuned model.

    before, after   errors on the validation frames; before: of the base with the tuned model's zero of energy
    reasons   why the result is not called better than its base; none when it is
    doubts    what weakens the evidence without contradicting it
    """

    base: str
    model: str
    plan: Mapping[str, Any]
    before: ErrorTable
    after: ErrorTable
    base_set: BaseSet
    laws: tuple[LawChange, ...]
    diatomics: tuple[Diatomic, ...]
    volumes: tuple[VolumeCurve, ...]
    moved: tuple[Moved, ...]
    nearness: Nearness
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def better(self) -> bool:
        """Whether nothing that was measured became worse."""
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` is the inverse."""
        return {"better": self.better, **asdict(self)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Certificate":
        """Inverse of `as_dict`."""
        found: dict[str, Any] = {name: record[name] for name in ("base", "model", "plan")}
        found |= {name: tuple(record[name]) for name in ("reasons", "doubts")}
        found |= {name: ErrorTable.from_dict(record[name]) for name in ("before", "after")}
        rows: dict[str, Any] = {"laws": LawChange, "diatomics": Diatomic, "volumes": VolumeCurve, "moved": Moved}
        for name, kind in rows.items():
            plain = [{k: tuple(v) if k in _PAIRS else v for k, v in row.items()} for row in record[name]]
            found[name] = tuple(kind(**row) for row in plain)
        tables = {name: record["base_set"][name] for name in ("before", "after")}
        parsed = {name: table and ErrorTable.from_dict(table) for name, table in tables.items()}
        found["base_set"] = BaseSet(**{**record["base_set"], **parsed})
        return cls(**found, nearness=Nearness(**record["nearness"]))

    def summary(self) -> dict[str, Any]:
        """What travels in the weights: all but curves."""
        kept = self.as_dict()
        for row in kept["diatomics"] + kept["volumes"]:
            for name in ("distances", "volumes", "before", "after"):
                row.pop(name, None)
        return kept

    def __str__(self) -> str:
        verdict = "better than its base" if self.better else "NOT better than its base: " + "; ".join(self.reasons)
        return "\n".join([verdict, *(f"doubt: {doubt}" for doubt in self.doubts)])


_PAIRS = ("measured", "minima", "volume", "bulk_modulus_GPa")


def certified(
    folder: RunFolder,
    base: Potential,
    tuned: Potential,
    after: ErrorTable,
    taught: Sequence[Record],
    judged: Sequence[Record],
    replay: Replay,
    shift: Mapping[int, float],
    plan: Mapping[str, Any],
) -> Certificate:
    """The certificate in the folder if it is of this model; else it is made, and put there and into the weights."""
    written = folder.read_json(_FILE)
    if written is not None and written["model"] == tuned.fingerprint() and written["base"] == base.fingerprint():
        return Certificate.from_dict(written)
    elements = sorted(shift)[:_MOST_ELEMENTS]
    levels, back = levels_of(taught), {number: -energy for number, energy in shift.items()}
    before = evaluate_errors(base, shifted(judged, back, levels))
    base_set = measure_base_set(base, tuned, replay, shift, levels)
    laws, near = _laws(base, tuned, elements), nearness(taught, judged)
    pairs, volumes = diatomics(base, tuned, elements), volume_curves(base, tuned, taught)
    certificate = Certificate(
        base=base.fingerprint(),
        model=tuned.fingerprint(),
        plan=plan,
        before=before,
        after=after,
        base_set=base_set,
        laws=laws,
        diatomics=tuple(pairs),
        volumes=tuple(volumes),
        moved=tuple(moved(base, tuned)),
        nearness=near,
        reasons=tuple(_reasons(before, after, base_set, laws, pairs, volumes)),
        doubts=tuple(_doubts(base_set, near)),
    )
    folder.write_json(_FILE, certificate.as_dict())
    notes = checkpoint.inspect(folder.model)["notes"]
    checkpoint.save(tuned, folder.model, notes={**notes, "certificate": certificate.summary()})
    return certificate


def measure_base_set(
    base: Potential, tuned: Potential, replay: Replay, shift: Mapping[int, float], levels: Sequence[int]
) -> BaseSet:
    """Both models on the structures that replay keeps to judge by.

    The base's labels are moved to the tuned model's zero of energy first: another zero is not forgetting.
    """
    if len(replay.labelled) >= len(replay.judged) > 0:
        before = evaluate_errors(base, replay.labelled)
        after = evaluate_errors(tuned, shifted(replay.labelled, shift, levels))
        rise = after["forces"].mae / before["forces"].mae - 1
        return BaseSet(f"{replay.source}, their labels", len(replay.labelled), before, after, rise)
    if not replay.judged:
        return BaseSet("none: there are no structures of other compositions", 0, None, None, None)
    after = evaluate_errors(tuned, shifted(replay.judged, shift, levels))
    count = sum(record.labels["forces"].numel() for record in replay.judged)
    size = (sum(float(record.labels["forces"].square().sum()) for record in replay.judged) / count) ** 0.5
    rise = after["forces"].rmse / size if size > 0 else 0.0
    return BaseSet(f"{replay.source}, the base's predictions", len(replay.judged), None, after, rise)


def _laws(base: Potential, tuned: Potential, elements: Sequence[int]) -> tuple[LawChange, ...]:
    old, new = (as_table(examine(model, laws=EXAMINED, elements=elements)) for model in (base, tuned))
    return tuple(
        LawChange(
            str(a["law"]),
            str(a["verdict"]),
            str(b["verdict"]),
            (_number(a["measured"]), _number(b["measured"])),
            _number(b["tolerance"]),
            str(b["unit"]),
        )
        for a, b in zip(old, new, strict=True)
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _reasons(
    before: ErrorTable,
    after: ErrorTable,
    base_set: BaseSet,
    laws: Sequence[LawChange],
    pairs: Sequence[Diatomic],
    volumes: Sequence[VolumeCurve],
) -> list[str]:
    """What became worse, each in words with its numbers."""
    found = []
    for name in ("energy_no_offset" if "energy_no_offset" in after.rows else "energy", "forces", "stress"):
        if name in before.rows and name in after.rows and after[name].rmse > before[name].rmse:
            found.append(f"{name} RMSE rose from {before[name].rmse:.3g} to {after[name].rmse:.3g} {after[name].unit}")
    if base_set.forgotten and base_set.rise is not None:
        what = "forces changed by" if base_set.before is None else "the error of forces rose by"
        found.append(f"on the base set {what} {100 * base_set.rise:.1f} %")
    found += [f"law '{row.law}' was kept and is not" for row in laws if (row.before, row.after) == ("pass", "FAIL")]
    found += [
        f"the diatomic {row.pair} has {row.minima[1]} minima, before {row.minima[0]}"
        for row in pairs
        if row.minima[1] > max(1, row.minima[0])
    ]
    found += [
        f"{row.formula} has lost its minimum of energy against volume"
        for row in volumes
        if row.volume[0] is not None and row.volume[1] is None
    ]
    return found


def _doubts(base_set: BaseSet, nearness: Nearness) -> list[str]:
    found = []
    if nearness.near_copies:
        found.append(
            f"{nearness.near_copies} of {nearness.judged} validation frames lie within 0.05 Å of a taught one: they"
            " measure interpolation"
        )
    if base_set.rise is None:
        found.append("nothing measures what was forgotten")
    elif base_set.before is None:
        found.append("what was forgotten is measured against the base's own predictions, not against labels")
    return found
