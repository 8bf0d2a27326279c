"""List every error message of hfseg and its demo as `file:line: text`, for proofreading.

python .ci/messages.py
"""

import ast
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ERRORS = ("UserError", "Refused")
_WORDS = 4  # sentences that reach an error through a variable have at least this many


def main() -> None:
    for folder in ("hfseg", "demo"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for line, text in sorted(messages(tree)):
                print(f"{path.relative_to(REPOSITORY)}:{line}: {' '.join(text.split())}")


def messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each message: the strings of errors, and returned sentences."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node.func) in ERRORS:
            yield from strings(node)
        elif isinstance(node, ast.Return) and node.value is not None and not calls_error(node):
            yield from ((n, text) for n, text in strings(node) if len(text.split()) >= _WORDS)


def strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """The outermost strings in a node, with `{expression}` for the inserted values."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            yield child.lineno, "".join(map(text_of, child.values))
        elif isinstance(child, ast.Constant):
            if isinstance(child.value, str):
                yield child.lineno, child.value
        else:
            yield from strings(child)


def text_of(part: ast.expr) -> str:
    if isinstance(part, ast.FormattedValue):
        return f"{{{ast.unparse(part.value)}}}"
    return str(part.value) if isinstance(part, ast.Constant) else ast.unparse(part)


def calls_error(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Call) and name_of(n.func) in ERRORS for n in ast.walk(node))


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


if __name__ == "__main__":
    main()
