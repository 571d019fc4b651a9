#!/usr/bin/env python3
"""Fails on a variable outside core/process.* that may change at run time.

Usage: check_objects.py ARCHIVE-OR-OBJECT...

Looks at the section of each object symbol: what can be written is in .data, .bss, .tdata or .tbss
(.data.rel.ro is constant, but for relocation). A constant with a constructor shows here too, and
rightly: it is made at load time and destroyed at exit, while other threads may still use it."""

import re
import subprocess
import sys

import rules

HEADER = re.compile(r"^(?:.*[/(])?([^/()\s]+)\)?:\s+file format ")
# address, 7 flag characters, section, size, [visibility] name
SYMBOL = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\s+[0-9a-f]+\s+(?:\.hidden |\.protected |\.internal )?(.+)$")
WRITABLE = re.compile(r"^\.(?:data|bss|tdata|tbss)(?:\.|$)")
CONSTANT = re.compile(r"^\.data\.rel\.ro(?:\.|$)")


def check(files):
    problems, seen = [], 0
    for file in files:
        listing = subprocess.run(["objdump", "--syms", "--demangle", file], check=True,
                                 capture_output=True, text=True).stdout
        member = file
        for line in listing.splitlines():
            if header := HEADER.match(line):
                member = header[1]
            symbol = SYMBOL.match(line)
            if not symbol:
                continue
            seen += 1
            flags, section, name = symbol.groups()
            if "O" not in flags and not section.startswith((".tdata", ".tbss")):
                continue
            if not WRITABLE.match(section) or CONSTANT.match(section) or "d" in flags:
                continue
            if rules.MUTABLE_STATE_IN.match(member) or rules.NOT_OURS.match(name):
                continue
            problems.append(f"{member}: {name} ({section}): state of the process belongs into "
                            "core/process.*, constants are constexpr (and a std::array "
                            "names its full type: g++ 12 leaves a deduced one writable)")
    return problems, seen


def main():
    problems, seen = check(sys.argv[1:])
    print("\n".join(problems) if problems else f"none of {seen} symbols is mutable state")
    return 1 if problems or seen == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
