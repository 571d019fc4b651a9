#!/usr/bin/env python3
"""recipes.py SECTION NUMBER: prints that block of that section of hwid-programs(7), counted from 1: of a
program, or of DESCRIPTION. Blocks without a language are not counted. recipes.py --list: SECTION NUMBER of
all, one a line."""

import pathlib
import re
import sys

MANUAL = pathlib.Path(__file__).resolve().parents[2] / "doc" / "hwid-programs.7.md"


def recipes():
    """The blocks by section."""
    parts = dict(re.findall(r"^# (.*?)\n(.*?)(?=^# |\Z)", MANUAL.read_text(encoding="utf-8"), re.M | re.S))
    sections = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", parts["PROGRAMS"], re.M | re.S)
    sections.append(("DESCRIPTION", parts["DESCRIPTION"]))
    return {title: re.findall(r"^```\w+\n(.*?)^```$", text, re.M | re.S) for title, text in sections}


def main():
    if sys.argv[1:] == ["--list"]:
        for title, blocks in recipes().items():
            for number in range(1, len(blocks) + 1):
                print(title, number)
        return
    title, number = sys.argv[1:]
    blocks = recipes().get(title, [])
    if not 1 <= int(number) <= len(blocks):
        sys.exit(f"hwid-programs(7): section {title!r} has no block {number}")
    sys.stdout.write(blocks[int(number) - 1])


if __name__ == "__main__":
    main()
