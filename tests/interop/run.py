#!/usr/bin/env python3
"""Runs the matrix: programs, unchanged, with keys in hardware. See --help.

A row of tests/interop is run once in each world and for each form of naming the key that its program
takes. Rows run side by side, each with a limit of time; what fails is shown whole.
"""

import argparse
import concurrent.futures
import itertools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
WORLDS = {"softhsm": "SoftHSM", "tpm2-pkcs11": "tpm2-pkcs11", "tpm": "TPM"}
KINDS = {"client": "Clients", "server": "Servers", "tool": "Tools"}
SKIPPED = 77


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", default=",".join(WORLDS), help="of " + ", ".join(WORLDS) + " (default: all)")
    parser.add_argument("--rows", default="", metavar="REGEX", help="which rows (default: all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="for each (default: 120)")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="the table as Markdown, e.g. doc/interop.md")
    return parser.parse_args()


def listed(pattern):
    """(row, form) of all rows that match."""
    text = subprocess.run(["bash", HERE / "row.sh", "--list"], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        row, forms, *_ = line.split()
        if re.search(pattern, row):
            yield from ((row, form) for form in forms.split(","))


def run_row(world, row, form, timeout):
    """(exit code, what it printed)."""
    process = subprocess.Popen(["bash", HERE / "row.sh", world, form, row], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               start_new_session=True)
    try:
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        # To the shell first, which ends what it started.
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                output, _ = process.communicate(timeout=10)
                break
            except (subprocess.TimeoutExpired, ProcessLookupError):
                output = ""
        return -1, f"{output}\nnot done after {timeout:.0f} s"


def word(code):
    return {0: "passed", SKIPPED: "skipped"}.get(code, "FAILED")


def version(program):
    """Of the Debian package that a program is of; empty if it is of none."""
    path = shutil.which(program, path="/usr/bin:/usr/sbin:" + os.environ["PATH"])
    if path is None:
        return ""
    # Debian's own tree may still say /bin.
    for name in (os.path.realpath(path), path, path.removeprefix("/usr")):
        found = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True)
        if found.returncode == 0:
            package = found.stdout.split(":")[0]
            shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
            return f"{package} {shown.stdout}"
    return ""


PROGRAM = {"paho-cpp": "hwid-publish", "python-ssl": "python3", "python-requests": "python3",
           "python-paho": "python3", "mosquitto_pub-sub": "mosquitto_pub", "lua": "lua5.3",
           "socat-fork": "socat", "postgres": "psql"}


def markdown(results, worlds):
    system = subprocess.run(["sh", "-c", '. /etc/os-release; echo "$PRETTY_NAME"; openssl version'],
                            capture_output=True, text=True).stdout.split("\n")
    lines = ["# Programs that were tried", "",
             "Written by `tests/interop/run.py --write doc/interop.md`, which runs each of them: unchanged, from",
             f"Debian, over mutual TLS or at its own work. This table is of {system[0]} with",
             f"{system[1].split(' (')[0]}.", "",
             "*file*: the program is given the key's reference (`hwid ref`) in the place of a key; *uri*: it takes",
             "`hwid:NAME`, `pkcs11:...` or `tpm2:...` itself; *token*: it goes to the token by itself, past OpenSSL.",
             "The keys are in SoftHSM, in a TPM behind tpm2-pkcs11, and in a TPM directly, without a resource",
             "manager. The commands and configurations are in [tests/interop](../tests/interop).", ""]
    for kind, title in KINDS.items():
        lines += [f"## {title}", "", "| program | key | " + " | ".join(WORLDS[w] for w in worlds) + " | of |",
                  "|---|---|" + "---|" * (len(worlds) + 1)]
        rows = sorted({row for row, _, _ in results if row.startswith(kind + "_")})
        for row in rows:
            name = row.split("_", 1)[1]
            for form in ("file", "uri", "token"):
                codes = [results.get((row, form, world)) for world in worlds]
                if any(code is not None for code in codes):
                    cells = ["" if code is None else word(code) for code in codes]
                    lines.append(f"| {name} | {form} | " + " | ".join(cells) + f" | {version(PROGRAM.get(name, name))} |")
        lines.append("")
    lines.append((HERE / "impossible.md").read_text(encoding="utf-8").rstrip())
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    worlds = options.worlds.split(",")
    if unknown := set(worlds) - set(WORLDS):
        sys.exit(f"no world {', '.join(sorted(unknown))}; there are {', '.join(WORLDS)}")
    tasks = [(row, form, world) for (row, form), world in itertools.product(listed(options.rows), worlds)]
    results, failures = {}, []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(run_row, world, row, form, options.timeout): (row, form, world)
                   for row, form, world in tasks}
        for future in concurrent.futures.as_completed(futures):
            row, form, world = task = futures[future]
            results[task], output = future.result()
            note = output.strip().splitlines()[-1] if results[task] == SKIPPED and output.strip() else ""
            print(f"{word(results[task]):8} {row:28} {form:5} {world:12} {note}", flush=True)
            if word(results[task]) == "FAILED":
                failures.append((task, output))
    for (row, form, world), output in failures:
        print(f"\n--- {row} {form} {world}\n{output}")
    count = {which: sum(word(code) == which for code in results.values()) for which in ("passed", "skipped", "FAILED")}
    print(", ".join(f"{number} {which}" for which, number in count.items()))
    if options.write:
        options.write.write_text(markdown(results, worlds), encoding="utf-8")
    if failures or not results:
        return 1
    return 0 if count["passed"] else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
