"""Tool schemas as a coding agent declares them: its own tools, then a server of library functions.

Real agents carry 8k-15k tokens of schemas (docs/workload.md 1.1: p1-p99 7.7-15.2k, median 12.3k).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from workload.documents import SourceFile, docstring, syntax_tree

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")

_OWN: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "read_file",
        "Reads a file of the workspace and returns its lines with their numbers. Read before you "
        "edit. Long files are returned in pieces: ask for the next piece with `offset`.",
        {
            "path": "Path of the file, relative to the workspace.",
            "offset": "First line to return, counted from 1.",
            "limit": "How many lines to return.",
        },
    ),
    (
        "edit_file",
        "Replaces one exact piece of text in a file. The old text must occur exactly once; give "
        "enough lines around it to make it unique, with their indentation.",
        {
            "path": "Path of the file, relative to the workspace.",
            "old_text": "The text to replace, exactly as it stands in the file.",
            "new_text": "The text to put in its place.",
        },
    ),
    (
        "run_command",
        "Runs a shell command in the workspace and returns what it prints. Commands end after two "
        "minutes. Do not start servers or anything that waits for input.",
        {
            "command": "The command line.",
            "timeout_s": "Seconds after which it is stopped.",
        },
    ),
    (
        "grep",
        "Searches file contents with a regular expression and returns matching lines with path "
        "and line number.",
        {
            "pattern": "The regular expression.",
            "path": "Folder or file to search.",
            "glob": "Only files whose name matches.",
        },
    ),
    (
        "search_docs",
        "Searches the documentation of the workspace and its libraries; returns the best passages.",
        {"query": "What to look for, in a few words."},
    ),
)


def tool_schemas(files: Sequence[SourceFile], limit: int = 120) -> Iterator[dict[str, Any]]:
    """The agent's own tools, then functions of the corpus offered as tools, at most `limit`."""
    for name, description, parameters in _OWN:
        yield _schema(name, description, parameters)
    seen = {name for name, _, _ in _OWN}
    for file in files:
        for name, description, parameters in _functions(file):
            if name not in seen and len(seen) < limit:
                seen.add(name)
                yield _schema(name, description, parameters)


def _schema(name: str, description: str, parameters: dict[str, str]) -> dict[str, Any]:
    properties = {key: {"type": "string", "description": text} for key, text in parameters.items()}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(parameters)[:1],
            },
        },
    }


def _functions(file: SourceFile) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Documented public functions with at least two parameters: (name, docstring, parameters)."""
    tree = syntax_tree(file)
    if tree is None:
        return
    module = file.path.removesuffix(".py")
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        description = docstring(node)
        names = [a.arg for a in node.args.args]
        if len(description) > 80 and len(names) >= 2:
            # OpenAI allows [a-zA-Z0-9_-]{1,64} in a function's name.
            name = _NOT_IN_NAMES.sub("_", f"{module}_{node.name}")[-64:]
            yield name, description, {n: f"Value passed as `{n}`." for n in names}
