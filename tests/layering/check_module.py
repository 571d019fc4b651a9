#!/usr/bin/env python3
"""Fails unless a module exports OSSL_provider_init alone and stays loaded for ever.

Usage: check_module.py hwid.so"""

import subprocess
import sys


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check(module):
    problems = []
    lines = output("nm", "--dynamic", "--defined-only", module).splitlines()
    symbols = sorted(line.split()[-1].split("@")[0] for line in lines)
    if symbols != ["OSSL_provider_init"]:
        problems.append(f"{module} exports {' '.join(symbols) or 'nothing'}, "
                        "not OSSL_provider_init alone")
    flags = [line for line in output("readelf", "--dynamic", module).splitlines() if "FLAGS_1" in line]
    if not any("NODELETE" in line for line in flags):
        problems.append(f"{module} is not linked with -z nodelete")
    return problems


def main():
    problems = check(sys.argv[1])
    print("\n".join(problems) if problems else "one symbol, never unloaded")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
