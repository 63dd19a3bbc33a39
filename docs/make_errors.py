"""Writes docs/errors.md from the refusals in the source: `python docs/make_errors.py`. CI compares the two."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "groundstate"
CODE = re.compile(r"E-[A-Z][A-Z0-9-]+")
HEAD = """# Error codes

Every refusal reads `CODE: what is wrong [where]. Why it matters. What to do.` Codes are stable: programs may branch on
them. With `--json` the same comes as one document. `…` stands for what the message fills in. Made from the source by
`python docs/make_errors.py`.

| code | room | what is wrong | what to do |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    found: dict[str, tuple[set[str], str, str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                found.setdefault(node.value, (set(), "", ""))[0].add(room)
            if isinstance(node, ast.Call):
                code, what, fix = _refusal(node)
                if code and (what or fix):
                    rooms, known_what, known_fix = found.setdefault(code, (set(), "", ""))
                    found[code] = (rooms | {room}, known_what or what, known_fix or fix)
    rows = (
        f"| `{code}` | {', '.join(sorted(rooms))} | {what} | {fix} |"
        for code, (rooms, what, fix) in sorted(found.items())
    )
    return HEAD + "\n".join(rows) + "\n"


def _refusal(call: ast.Call) -> tuple[str, str, str]:
    """Code, what and fix of a call that looks like an error being made."""
    texts = [_text(argument) for argument in call.args]
    at = next((i for i, text in enumerate(texts) if CODE.fullmatch(text)), None)
    named = {keyword.arg: _text(keyword.value) for keyword in call.keywords if keyword.arg}
    code = named.get("code", "") if at is None else texts[at]
    if not CODE.fullmatch(code):
        return "", "", ""
    what = named.get("what", "") or (texts[at + 1] if at is not None and at + 1 < len(texts) else "")
    return code, what, named.get("fix", "") or named.get("hint", "")


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value).replace("|", "\\|").replace("\n", " ") if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + (_text(node.right) or "…")
    return ""


if __name__ == "__main__":
    (ROOT / "docs" / "errors.md").write_text(page(), encoding="utf-8")
