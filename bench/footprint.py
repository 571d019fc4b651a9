#!/usr/bin/env python3
"""Measures how large the stripped binaries are, and the memory of a device that is connected and has
nothing to do; writes both as the last section of doc/bench.md.

    bench/footprint.py           builds in build/footprint, and measures
    bench/footprint.py --quick   only shows that everything works; prints, and writes nothing

Needs mosquitto, mosquitto_sub, SoftHSM and swtpm.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from figures import median
from machine import machine
from report import FOOTPRINT, footprint_of

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["hwid", "hwid_transport", "hwid-command", "hwid-telemetry", "hwid-bench-idle-paho"]
BINARIES = [("the provider", "provider/hwid.so"), ("the library", "transport/libhwid-transport.so"),
            ("the command", "tools/hwid"), ("the telemetry sample", "samples/hwid-telemetry")]
SETTLED_SECONDS = 3
PATIENCE_SECONDS = 60

TEXT = """\
Made by `bench/footprint.py`, never by hand. {machine}; the median of {rounds} processes.

| stripped, built as the packages are | KiB |
|---|---|
{sizes}

Each process below is connected to a mosquitto on this machine over mutual TLS with a P-256 key, with
nothing to do, {settled} seconds after its memory changed last: *Rss* is all that is in its memory, *Pss*
counts what it shares with other processes (libraries; the broker has some of them, too) by its share,
*its own* is what it alone has (proc(5), smaps_rollup); both are smaller where other programs have its
libraries open. The telemetry sample is `hwid::transport` as a device has it. SoftHSM is a library in
the process; the TPM is swtpm, a process of its own that is not counted.

| idle, connected | key | Rss, KiB | Pss, KiB | its own, KiB |
|---|---|---|---|---|
{rows}
"""


class Failed(Exception):
    """What failed, and why."""


@dataclass(frozen=True)
class Memory:
    """Of a process, in KiB."""

    rss: float
    pss: float
    own: float

    @classmethod
    def of(cls, pid: int) -> Memory:
        values: dict[str, float] = {}
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        for line in rollup.splitlines()[1:]:
            name, rest = line.split(":")
            values[name] = float(rest.split()[0])
        return cls(values["Rss"], values["Pss"], values["Private_Clean"] + values["Private_Dirty"])


def wait_until(what: str, is_so) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {PATIENCE_SECONDS} seconds")
        time.sleep(0.05)


class Scene:
    """A broker, an authority, and a device's key in a file, in SoftHSM and in a TPM."""

    def __init__(self, build: Path, directory: Path):
        self.build = build
        self.directory = directory
        self.broker: subprocess.Popen | None = None
        self.port = 0
        plain = {name: value for name, value in os.environ.items()
                 if not name.startswith(("HWID_", "TPM2", "PKCS11_", "OPENSSL_", "SOFTHSM2_"))}
        self.environment = plain | {"HOME": str(directory),
                                    "XDG_STATE_HOME": str(directory / "state"),
                                    "OPENSSL_MODULES": str(build / "provider")}

    def run(self, *command, key: str = "") -> str:
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True,
                              env=self.with_key(key), check=False)
        if done.returncode != 0:
            raise Failed(f"{Path(command[0]).name} {command[1]}: {done.stderr or done.stdout}")
        return done.stdout

    def with_key(self, key: str) -> dict[str, str]:
        if not key or key == "file":
            return self.environment
        return self.environment | {"OPENSSL_CONF": str(self.directory / key / "openssl.cnf")}

    def hwid(self, *arguments, key: str = "") -> None:
        self.run(self.build / "tools" / "hwid", *arguments, key=key)

    def set_up(self) -> None:
        self.hwid("init", "softhsm", "--dir", str(self.directory / "softhsm"))
        self.hwid("init", "swtpm", "--dir", str(self.directory / "tpm"))
        self.hwid("ca", "init", "--dir", "ca", "--subject", "/CN=Development CA", key="softhsm")
        self.certificate("broker", "server", "--san", "DNS:localhost")
        self.certificate("file", "client")
        for key in ("softhsm", "tpm"):
            self.hwid("generate", "hwid://device", "--type", "ec:P-256", key=key)
            self.hwid("csr", "hwid://device", "--subject", f"/CN={key}", "--usage", "client",
                      "--out", f"{key}.csr", key=key)
            self.sign(key, "client")
        with socket.socket() as any_port:
            any_port.bind(("127.0.0.1", 0))
            self.port = any_port.getsockname()[1]
        for key in ("file", "softhsm", "tpm"):
            where = "file.key" if key == "file" else "hwid://device"
            (self.directory / f"{key}.conf").write_text(
                f"endpoint = mqtts://localhost:{self.port}\nclient-id = {key}\nca-file = ca/ca.pem\n"
                f"cert = {key}.pem\nkey = {where}\n", encoding="ascii")
        user = "user root\n" if os.geteuid() == 0 else ""
        (self.directory / "mosquitto.conf").write_text(
            f"{user}log_dest file {self.directory}/broker.log\nlistener {self.port} localhost\n"
            "cafile ca/ca.pem\ncertfile broker.pem\nkeyfile broker.key\nrequire_certificate true\n"
            "use_identity_as_username true\n", encoding="ascii")
        mosquitto = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.broker = subprocess.Popen([mosquitto, "-c", "mosquitto.conf"], cwd=self.directory,
                                       env=self.environment)
        wait_until("mosquitto", self.broker_listens)

    def certificate(self, name: str, profile: str, *more) -> None:
        self.run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                 "-noenc", "-keyout", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        self.sign(name, profile, *more)

    def sign(self, name: str, profile: str, *more) -> None:
        self.hwid("ca", "sign", f"{name}.csr", "--dir", "ca", "--profile", profile, "--out",
                  f"{name}.pem", *more, key="softhsm")

    def broker_listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def tear_down(self) -> None:
        stop = self.directory / "tpm" / "stop"
        if stop.exists():
            subprocess.run([stop], check=False, capture_output=True)
        if self.broker:
            self.broker.terminate()
            self.broker.wait()

    def connections(self, client: str) -> int:
        log = self.directory / "broker.log"
        return log.read_text(encoding="utf-8").count(f" as {client} (") if log.exists() else 0

    def idle(self, client: str, key: str, *command, settled: float) -> Memory:
        """The memory of `command`, which connects as `client`."""
        before = self.connections(client)
        with open(self.directory / f"{client}.out", "wb") as out:
            process = subprocess.Popen(command, cwd=self.directory, env=self.with_key(key),
                                       stdout=out, stderr=out)
        try:
            wait_until(f"{client} connects",
                       lambda: self.connections(client) > before or process.poll() is not None)
            last, since = self.memory_of(process, client), time.monotonic()
            deadline = since + PATIENCE_SECONDS
            while time.monotonic() - since < settled and time.monotonic() < deadline:
                time.sleep(0.1)
                now = self.memory_of(process, client)
                if now.own != last.own:
                    last, since = now, time.monotonic()
            return last
        finally:
            process.terminate()
            process.wait()

    def memory_of(self, process: subprocess.Popen, client: str) -> Memory:
        if process.poll() is not None:
            raise Failed(f"{client} ended: " +
                         (self.directory / f"{client}.out").read_text(encoding="utf-8"))
        return Memory.of(process.pid)

    def devices(self):
        """Name of the client, what it is, the key, the command."""
        telemetry = self.build / "samples" / "hwid-telemetry"
        for key, name in (("file", "in software"), ("softhsm", "in SoftHSM"), ("tpm", "in a TPM")):
            yield key, "hwid-telemetry", name, key, [
                telemetry, "--config", f"{key}.conf", "--topic", "t", "--interval", "3600"]
        yield "paho", "Paho C++ alone", "in software", "file", [
            self.build / "bench" / "hwid-bench-idle-paho", f"ssl://localhost:{self.port}",
            "ca/ca.pem", "file.pem", "file.key"]
        yield "mosquitto_sub", "mosquitto_sub", "in software", "file", [
            "mosquitto_sub", "-h", "localhost", "-p", str(self.port), "--cafile", "ca/ca.pem",
            "--cert", "file.pem", "--key", "file.key", "-i", "mosquitto_sub", "-t", "t"]


def sizes(build: Path) -> list[str]:
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for what, path in BINARIES:
            copy = Path(directory) / Path(path).name
            subprocess.run(["strip", "--strip-unneeded", "-o", copy, build / path], check=True)
            rows.append(f"| {what}, `{copy.name}` | {copy.stat().st_size / 1024:,.0f} |")
    return rows


def memory(build: Path, rounds: int, settled: float) -> list[str]:
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        scene = Scene(build, Path(directory))
        try:
            scene.set_up()
            for client, what, key_text, key, command in scene.devices():
                found = [scene.idle(client, key, *command, settled=settled)
                         for _ in range(rounds)]
                figures = [median([getattr(one, name) for one in found])
                           for name in ("rss", "pss", "own")]
                rows.append(f"| {what} | {key_text} | " +
                            " | ".join(f"{figure:,.0f}" for figure in figures) + " |")
        finally:
            scene.tear_down()
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "footprint",
                        help="build directory (default: build/footprint)")
    parser.add_argument("--no-build", action="store_true", help="use what is built there")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    rounds = 1 if arguments.quick else 5
    settled = 0.3 if arguments.quick else SETTLED_SECONDS
    try:
        if not arguments.no_build:
            if not (build / "CMakeCache.txt").exists():
                subprocess.run(["cmake", "--preset", "packages", "-B", build,
                                "-DHWID_BENCH=ON", "-DBUILD_TESTING=ON"],
                               cwd=ROOT, check=True)
            subprocess.run(["cmake", "--build", build, "--target", *TARGETS], check=True)
        where = machine()
        section = FOOTPRINT + "\n\n" + TEXT.format(
            machine=where, rounds=rounds, settled=SETTLED_SECONDS, sizes="\n".join(sizes(build)),
            rows="\n".join(memory(build, rounds, settled)))
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        print(f"bench/footprint.py: {error}", file=sys.stderr)
        return 1
    print(section)
    if not arguments.quick:
        page = ROOT / "doc" / "bench.md"
        text = page.read_text(encoding="utf-8")
        kept = text[:len(text) - len(footprint_of(text))]
        page.write_text(kept + "\n" + section, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
