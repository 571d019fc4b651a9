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
# In which a client, with its key in SoftHSM, meets a server that is not its own.
SERVERS = {"another-ca": "another CA", "another-name": "another name"}
# The keys in these are RSA, not EC.
RSA = {f"{world}-rsa": f"{title}, RSA" for world, title in WORLDS.items()}
TITLES = WORLDS | SERVERS | RSA
# The programs that fork, change their user, bring an allocator of their own, or load OpenSSL in their own way.
DOZEN = {"client": ["openssl", "curl", "paho-cpp", "php", "perl", "socat", "nghttp", "node"],
         "server": ["nginx", "apache2", "socat-fork", "mosquitto", "nghttpd"]}
KINDS = {"client": "Clients", "server": "Servers", "tool": "Tools"}
SKIPPED, CANNOT, TAKEN = 77, 78, 79


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", default=",".join(WORLDS | SERVERS),
                        help="of " + ", ".join(TITLES) + " (default: all but RSA)")
    parser.add_argument("--rows", default="", metavar="REGEX", help="which rows (default: all)")
    parser.add_argument("--dozen", action="store_true", help="of these the dozen that break first")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="for each (default: 120)")
    parser.add_argument("--complete", action="store_true", help="what is skipped counts as failed")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="the table as Markdown, e.g. doc/interop.md")
    return parser.parse_args()


def listed(pattern, dozen):
    """(row, form) of all rows that match."""
    text = subprocess.run(["bash", HERE / "row.sh", "--list"], check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        row, forms, *_ = line.split()
        kind, name = row.split("_", 1)
        if re.search(pattern, row) and (not dozen or name in DOZEN.get(kind, [])):
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


def word(code, world=""):
    if code == 0:
        return "refused" if world in SERVERS else "passed"
    return {SKIPPED: "skipped", CANNOT: "cannot", TAKEN: "taken"}.get(code, "FAILED")


def shown_version(package):
    """Name and version of an installed package, and whose it is where it is not Debian's."""
    shown = subprocess.run(["dpkg-query", "-W", "-f", "${Version}\n${Maintainer}", package],
                           capture_output=True, text=True, check=True)
    number, maintainer = shown.stdout.split("\n")
    known = subprocess.run(["apt-cache", "madison", package], capture_output=True, text=True).stdout
    # The lists of apt do not have what an update has replaced since.
    if f" {number} " in known or re.search(r"@([\w-]+\.)*debian\.(org|net)>", maintainer):
        return f"{package} {number}"
    return f"{package} {number}, not Debian's: of {maintainer.split(' <')[0]}"


def version(program):
    """Of the package that a program is of; empty if it is of none."""
    if program.startswith("package:"):
        return shown_version(program.removeprefix("package:"))
    # What is /usr/bin/psql is a script that looks for the real one.
    search = ":".join([*sorted(map(str, pathlib.Path("/usr/lib/postgresql").glob("*/bin")), reverse=True),
                       "/usr/bin", "/usr/sbin", os.environ["PATH"]])
    path = shutil.which(program, path=search)
    if path is None:
        return ""
    # Debian's own tree may still say /bin.
    for name in (os.path.realpath(path), path, path.removeprefix("/usr")):
        found = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True)
        if found.returncode == 0:
            return shown_version(found.stdout.split(":")[0])
    return ""


# Whose version a row shows, where that is not the program of its name: of a language, the module that
# loads the key.
PROGRAM = {"paho-cpp": "package:libpaho-mqttpp3-1", "python-ssl": "python3", "python-requests": "package:python3-requests",
           "python-paho": "package:python3-paho-mqtt", "perl": "package:libio-socket-ssl-perl",
           "lua": "package:lua-sec", "socat-fork": "socat", "java": "javac"}
# The one row whose program is none of Debian's, but this project's with Debian's library.
NOTES = {"paho-cpp": "in this project's `hwid-publish`"}


def subject(row):
    """The version of what a row is about, with what is to be said of it."""
    kind, name = row.split("_", 1)
    shown = version("openssl" if kind == "tool" else PROGRAM.get(name, name))
    return ", ".join(filter(None, (shown, NOTES.get(name))))


NOT_PASSED = ("skipped", "cannot", "taken")


def reason(output):
    """Why a row was not run to its end: its last line."""
    return (output.strip().splitlines() or [""])[-1]


def explained(kind, results, outputs):
    """Lines on what did not pass: why, and in which world and form."""
    reasons = {}
    for (row, form, world), code in sorted(results.items()):
        if row.startswith(kind + "_") and word(code) in NOT_PASSED:
            why = reason(outputs[row, form, world]).removeprefix("SKIPPED: ")
            where = f"{form}, {SERVERS[world]}" if world in SERVERS else f"{form} in {TITLES[world]}"
            reasons.setdefault((row.split("_", 1)[1], word(code), why), []).append(where)
    return [f"- {name}, {which} ({'; '.join(where)}): {why}" for (name, which, why), where in reasons.items()]


def markdown(results, outputs, worlds):
    system = subprocess.run(["sh", "-c", '. /etc/os-release; echo "$PRETTY_NAME"; openssl version'],
                            capture_output=True, text=True).stdout.split("\n")
    lines = ["# Programs that were tried", "",
             "Written by `tests/interop/run.py --write doc/interop.md`, which runs each of them, unchanged, over",
             f"mutual TLS or at its own work. This table is of {system[0]} with {system[1].split(' (')[0]};",
             "the last column has each program's package, and whose it is where it is not Debian's.", "",
             "*file*: the program is given the key's reference (`hwid ref`) in the place of a key; *uri*: it takes",
             "`hwid:NAME`, `pkcs11:...` or `tpm2:...` itself; *token*: it goes to the token by itself, past OpenSSL.",
             "The keys are in SoftHSM, in a TPM behind tpm2-pkcs11, and in a TPM directly, without a resource",
             "manager. What each program is told is in [hwid-programs(7)](hwid-programs.7.md), whose blocks these",
             "rows run.", "",
             "The keys are EC P-256. With RSA keys of 2048 bits the tests run these, too, in the same three places:",
             f"{', '.join(DOZEN['client'])} as clients, {', '.join(DOZEN['server'])} as servers.", "",
             "Each client has met two servers besides that are not its own, with its key in SoftHSM: *another CA*,",
             "one with a certificate of a CA that it does not know; *another name*, one of its CA with the name of",
             "another host. It must not speak to them: *refused*. *taken*: it does; why stands below the table.", ""]
    for kind, title in KINDS.items():
        shown = [world for world in worlds if kind == "client" or world not in SERVERS]
        lines += [f"## {title}", "", "| program | key | " + " | ".join(TITLES[w] for w in shown) + " | of |",
                  "|---|---|" + "---|" * (len(shown) + 1)]
        rows = sorted({row for row, _, _ in results if row.startswith(kind + "_")})
        for row in rows:
            for form in ("file", "uri", "token"):
                codes = [(results.get((row, form, world)), world) for world in shown]
                if any(code is not None for code, _ in codes):
                    cells = ["" if code is None else word(code, world) for code, world in codes]
                    lines.append(f"| {row.split('_', 1)[1]} | {form} | " + " | ".join(cells) + f" | {subject(row)} |")
        lines.append("")
        if notes := explained(kind, results, outputs):
            lines += [*notes, ""]
    lines.append((HERE / "impossible.md").read_text(encoding="utf-8").rstrip())
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    worlds = options.worlds.split(",")
    if unknown := set(worlds) - set(TITLES):
        sys.exit(f"no world {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    tasks = [(row, form, world) for (row, form), world in itertools.product(listed(options.rows, options.dozen), worlds)
             if world not in SERVERS or row.startswith("client_")]
    results, outputs, failures = {}, {}, []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(run_row, world, row, form, options.timeout): (row, form, world)
                   for row, form, world in tasks}
        for future in concurrent.futures.as_completed(futures):
            row, form, world = task = futures[future]
            results[task], outputs[task] = future.result()
            which = word(results[task], world)
            note = reason(outputs[task]) if which in NOT_PASSED else ""
            print(f"{which:8} {row:28} {form:5} {world:12} {note}", flush=True)
            if which == "FAILED" or (which == "skipped" and options.complete):
                failures.append(task)
    for row, form, world in failures:
        print(f"\n--- {row} {form} {world}\n{outputs[row, form, world]}")
    count = {which: sum(word(code, world) == which for (_, _, world), code in results.items())
             for which in ("passed", "refused", "taken", "cannot", "skipped", "FAILED")}
    print(", ".join(f"{number} {which}" for which, number in count.items()))
    if options.write:
        options.write.write_text(markdown(results, outputs, worlds), encoding="utf-8")
    if failures or not results:
        return 1
    return 0 if count["passed"] else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
