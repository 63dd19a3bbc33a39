"""What the reader refuses, as findings: counted by code, with the frames of the file."""

from collections.abc import Sequence

from groundstate.atoms import GroundstateError
from groundstate.data.lint.finding import Checked, Finding, listed


def check_reading(refused: Sequence[GroundstateError], n_read: int) -> Checked:
    """refused: by `data.survey` of all files; the frames are those of the files, for they are no records."""
    by_code: dict[str, list[GroundstateError]] = {}
    for error in refused:
        by_code.setdefault(error.code, []).append(error)
    findings = tuple(_finding(errors) for errors in by_code.values())
    return Checked("reading", f"{n_read} frames read, {len(refused)} refusals", findings=findings)


def _finding(errors: Sequence[GroundstateError]) -> Finding:
    first = errors[0]
    frames = [error.frame for error in errors if error.frame is not None]
    where = f" ({first.file}: frames {listed(frames)})" if frames else f" ({first.file})" if first.file else ""
    return Finding(
        first.code,
        "error",
        f"{first.what}{where}",
        numbers={"times": len(errors)},
        why=first.why,
        fix=first.fix,
    )
