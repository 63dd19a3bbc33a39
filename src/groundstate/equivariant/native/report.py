"""What this machine has of native kernels, for people: rows of `groundstate doctor`."""

import shlex
from collections.abc import Iterable

from groundstate.equivariant.native import store
from groundstate.equivariant.native.compiler import Unavailable, find_compiler
from groundstate.equivariant.native.library import switched_off
from groundstate.equivariant.native.plan import Plan
from groundstate.equivariant.native.target import best_target, supported_targets


def report(standard: Iterable[Plan] = ()) -> list[dict[str, str]]:
    """Rows with `name`, `state` and, where something is to be mended, `fix`.

    Kernels on or off, instruction set, compiler, cache folder; then each library of the package and of the cache, and
    each plan of `standard` that has none yet. Nothing is generated, compiled or loaded.
    """
    rows = [_switch(), _instruction_set()]
    compiler = find_compiler()
    if isinstance(compiler, Unavailable):
        rows.append(_row("compiler", f"none: {compiler.reason}", compiler.fix))
    else:
        rows.append(_row("compiler", f"{shlex.join(compiler.command)} ({compiler.version})"))
    cache = store.cache_folder()
    rows.append(_row("kernel cache", "none: this user has no home folder", "Name a folder in GROUNDSTATE_CACHE"))
    if cache is not None:
        rows[-1] = _row("kernel cache", str(cache))
    prebuilt, cached = store.listing(store.PREBUILT), [] if cache is None else store.listing(cache)
    for kind, entries in (("prebuilt", prebuilt), ("cached", cached)):
        # Libraries of one plan from several versions of the package, as they gather in a cache, are one row.
        states = dict.fromkeys((entry.plan, f"{kind} for {entry.target} ({entry.compiler})") for entry in entries)
        rows += [_row(plan, state) for plan, state in states]
    at_hand = {entry.plan for entry in (*prebuilt, *cached)}
    rows += [_row(plan.name, "compiled when first used") for plan in standard if plan.name not in at_hand]
    return rows


def _switch() -> dict[str, str]:
    try:
        off = switched_off()
    except ValueError as error:
        return _row("native kernels", f"refused: {error}", "Correct GROUNDSTATE_NATIVE")
    if off is not None:
        return _row("native kernels", f"off: {off.reason}", off.fix)
    return _row("native kernels", "on")


def _instruction_set() -> dict[str, str]:
    try:
        best = best_target()
    except ValueError as error:
        return _row("instruction set", f"none: {error}", "Correct GROUNDSTATE_TARGET")
    others = ", ".join(target.name for target in supported_targets() if target != best)
    return _row("instruction set", best.name + (f" (this CPU also runs {others})" if others else ""))


def _row(name: str, state: str, fix: str = "") -> dict[str, str]:
    return {"name": name, "state": state, "fix": fix}
