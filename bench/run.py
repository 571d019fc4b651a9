#!/usr/bin/env python3
"""Builds the benchmarks, runs them, and writes the table and the picture.

    bench/run.py                 everything: doc/bench.md, doc/gateway.md, their pictures, and
                                 bench.json beside the programs
    bench/run.py --only gateway messages
                                 doc/gateway.md and its picture
    bench/run.py --quick         only shows that everything works (a few seconds)

Sizes and memory, which stand at the end of doc/bench.md, are bench/footprint.py's.

On a machine with other work to do see bench/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from chart import svg
from figures import Comparison
from machine import machine
from report import DOCUMENTS, footprint_of, markdown

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ["sign", "tls", "roundtrip", "load", "cold", "tpm", "messages", "gateway"]
# What a developer's shell may hold, and must not change a figure.
FOREIGN = ["OPENSSL_CONF", "OPENSSL_MODULES", "PKCS11_PROVIDER_MODULE", "PKCS11_MODULE_PATH",
           "SOFTHSM2_CONF", "HWID_LOG", "HWID_TEST_CONTROL", "HWID_TEST_REPORT",
           "TPM2OPENSSL_TCTI", "TCTI_PCAP_FILE"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "bench",
                        help="build directory (default: build/bench)")
    parser.add_argument("--no-build", action="store_true", help="use what is built there")
    parser.add_argument("--rounds", type=int, help="default: 11")
    parser.add_argument("--slice", type=float,
                        help="seconds that each contender runs in a round (default: 0.25)")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--out", type=Path, help="directory of the tables and the pictures "
                        "(default: doc; with --quick a temporary one)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--figures", type=Path, metavar="JSON",
                        help="measure nothing: write the table and the picture of these figures")
    return parser.parse_args()


def build(directory: Path) -> None:
    if not (directory / "CMakeCache.txt").exists():
        subprocess.run(["cmake", "-S", ROOT, "-B", directory, "-G", "Ninja", "-DHWID_BENCH=ON",
                        "-DCMAKE_BUILD_TYPE=RelWithDebInfo"], check=True)
    subprocess.run(["cmake", "--build", directory, "--target", "hwid-benchmarks"], check=True)


def measure(arguments: argparse.Namespace) -> dict:
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    options = ["--rounds", str(arguments.rounds or (3 if arguments.quick else 11)),
               "--slice", str(arguments.slice or (0.002 if arguments.quick else 0.25))]
    if arguments.quick:
        options.append("--quick")
    where, data = machine(), []
    with tempfile.TemporaryDirectory() as directory:
        for name in arguments.only:
            path = Path(directory) / f"{name}.json"
            subprocess.run([arguments.build / "bench" / f"hwid-bench-{name}", *options,
                            "--json", path], check=True, env=environment)
            data += json.loads(path.read_text(encoding="utf-8"))
    return {"machine": where, "comparisons": data}


def write(arguments: argparse.Namespace, out: Path, data: dict) -> None:
    comparisons = [Comparison(one) for one in data["comparisons"]]
    rounds = len(data["comparisons"][0]["contenders"][0]["seconds"])
    out.mkdir(parents=True, exist_ok=True)
    command = "bench/run.py" + (" --quick" if arguments.quick else "")
    for name, document in DOCUMENTS.items():
        present = document.of(comparisons)
        if not present:
            continue
        table = markdown(name, present, f"{data['machine']}; {rounds} rounds.", command)
        page = out / f"{name}.md"
        kept = footprint_of(page.read_text(encoding="utf-8")) if page.exists() else ""
        page.write_text(table + kept, encoding="utf-8")
        (out / f"{name}.svg").write_text(svg(document, present, data["machine"]),
                                         encoding="utf-8")
        print(table)


def main() -> int:
    arguments = parse_arguments()
    if arguments.figures:
        data = json.loads(arguments.figures.read_text(encoding="utf-8"))
        write(arguments, arguments.out or ROOT / "doc", data)
        return 0
    try:
        if not arguments.no_build:
            build(arguments.build)
        data = measure(arguments)
    except subprocess.CalledProcessError as error:
        print(f"bench/run.py: {Path(error.cmd[0]).name} failed; see above", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"bench/run.py: {error}; build the target hwid-benchmarks", file=sys.stderr)
        return 1
    if arguments.quick and not arguments.out:
        with tempfile.TemporaryDirectory() as directory:
            write(arguments, Path(directory), data)
        return 0
    (arguments.build / "bench" / "bench.json").write_text(json.dumps(data, indent=1),
                                                           encoding="utf-8")
    write(arguments, arguments.out or ROOT / "doc", data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
