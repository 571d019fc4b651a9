#!/usr/bin/env python3
"""Fails on an #include or an identifier that breaks the layers. Usage: check_sources.py ROOT"""

import os
import pathlib
import re
import sys

import rules

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def folder_of(path):
    """The longest folder with a rule, or None."""
    parents = [str(p) for p in pathlib.PurePosixPath(path).parents]
    return next((p for p in parents if p in rules.MAY_INCLUDE), None)


def ours(root, file, name):
    """The path below root of a header of ours, or None."""
    candidates = [root / name, file.parent / name, root / "transport/include" / name]
    for candidate in candidates:
        if candidate.exists():
            return pathlib.Path(os.path.relpath(candidate, root)).as_posix()
    first = name.split("/")[0]
    return name if first in ("provider", "transport", "samples", "tools", "tests") else None


def check_include(root, file, folder, name):
    """Why the include is wrong, or None."""
    target = ours(root, file, name)
    if target is None:
        for folders, pattern, reason in rules.FORBIDDEN_HEADERS:
            if folder in folders and pattern.search(name):
                return reason
        return None
    to = folder_of(target)
    if to == folder or to in rules.MAY_INCLUDE[folder]:
        return None
    allowed = ", ".join(sorted(rules.MAY_INCLUDE[folder])) or "nothing else of the project"
    return f"{folder} may include {allowed}"


def check_file(root, file):
    path = file.relative_to(root).as_posix()
    text = file.read_text(encoding="utf-8")
    folder = folder_of(path)
    if path.startswith("provider/") and path.count("/") == 1 and path not in rules.NO_LAYER:
        yield f"{path}: belongs to no layer, and is not what puts them together"
    for match in INCLUDE.finditer(text):
        if why := check_include(root, file, folder, match[2]):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: #include {match[2]}: {why}"
    code = NOT_CODE.sub(lambda m: "\n" * m[0].count("\n"), text)
    for folders, pattern, reason in rules.FORBIDDEN_WORDS:
        for match in pattern.finditer(code) if folder in folders else ():
            yield f"{path}:{code.count(chr(10), 0, match.start()) + 1}: {match[0]}: {reason}"


def check_guard(root, file):
    if not re.search(r"^#pragma once$", file.read_text(encoding="utf-8"), re.MULTILINE):
        yield f"{file.relative_to(root).as_posix()}: no #pragma once"


def check(root):
    root = pathlib.Path(root)
    problems, count = [], 0
    for top in ("provider", "transport", "samples", "tools", "tests", "bench", "fuzz"):
        for file in sorted((root / top).rglob("*")):
            if file.suffix not in (".h", ".cpp", ".c", ".cc"):
                continue
            count += 1
            if top not in ("tests", "bench", "fuzz"):
                problems += check_file(root, file)
            if file.suffix == ".h":
                problems += check_guard(root, file)
    return problems, count


def main():
    problems, count = check(sys.argv[1])
    print("\n".join(problems) if problems else f"{count} files keep to their layers")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
