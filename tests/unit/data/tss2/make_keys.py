#!/usr/bin/env python3
"""Makes the files of this directory anew: keys of a fresh swtpm, as several programs write them.

Usage: make_keys.py [DIRECTORY-OF-tpm2.so]

Needs swtpm and tpm2-tools; for the tpm2-openssl-*.pem also that provider's directory. The variants
of the format that no packaged program writes are put together here, from a key of tpm2-tools."""

import base64
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import textwrap

HERE = pathlib.Path(__file__).resolve().parent
LOADABLE, IMPORTABLE, SEALED, OLD = "6781050a0103", "6781050a0104", "6781050a0105", "6781050a02"
OWNER = bytes.fromhex("020440000001")
OPEN = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|"


def run(*command, **environment):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})


def pem(name, der, label="TSS2 PRIVATE KEY"):
    text = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    (HERE / name).write_text(f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")


def element(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x82, size >> 8, size & 255])
    return bytes([tag]) + length + content


def oid(hexadecimal):
    return element(6, bytes.fromhex(hexadecimal))


def field(number, *parts):
    return element(0xa0 | number, *parts)


def octets(content):
    return element(4, content)


def integer(value):
    return element(2, value.to_bytes(4, "big").lstrip(b"\0"))


def statement(command, body):
    return element(0x30, field(0, integer(command)), field(1, octets(body)))


TRUE, ONE, FALSE = b"\x01\x01\xff", b"\x01\x01\x01", b"\x01\x01\x00"
PCR_POLICY = statement(0x17f, bytes.fromhex("0020" + "11" * 32 + "00000001000b03000080"))
AUTH_VALUE = statement(0x16b, b"")


class Tpm:
    """A swtpm with a storage key at 0x81000001."""

    def __init__(self, directory):
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        os.environ["TPM2TOOLS_TCTI"] = f"swtpm:port={self.port}"
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}",
             "--server", f"type=tcp,port={self.port}",
             "--ctrl", f"type=tcp,port={self.port + 1}", "--flags", "not-need-init,startup-clear"])
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port + 1)) == 0:
                    break

    def __enter__(self):
        run("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", self.path("primary"),
            "-a", OPEN + "restricted|decrypt")
        run("tpm2_evictcontrol", "-C", "o", "-c", self.path("primary"), "-o",
            str(HERE / "saved-handle.obj"), "0x81000001")
        self.flush()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def path(self, name):
        return str(pathlib.Path(self.directory) / name)

    @staticmethod
    def flush():
        for kind in ("-t", "-l", "-s"):
            run("tpm2_flushcontext", kind)

    def create(self, name, *arguments):
        """TPM2B_PUBLIC and TPM2B_PRIVATE of a key below 0x81000001."""
        run("tpm2_create", "-C", "0x81000001", "-u", self.path(name + ".pub"),
            "-r", self.path(name + ".priv"), *arguments)
        self.flush()
        return [pathlib.Path(self.path(name + kind)).read_bytes() for kind in (".pub", ".priv")]

    def encode(self, name, *arguments):
        run("tpm2_encodeobject", "-C", "0x81000001", "-u", self.path(name + ".pub"),
            "-r", self.path(name + ".priv"), "-o", str(HERE / f"tpm2-tools-{name}.pem"), *arguments)
        run("tpm2_load", "-C", "0x81000001", "-u", self.path(name + ".pub"),
            "-r", self.path(name + ".priv"), "-c", self.path(name + ".ctx"),
            "-n", self.path(name + ".name"))
        run("tpm2_readpublic", "-c", self.path(name + ".ctx"), "-f", "pem",
            "-o", str(HERE / f"tpm2-tools-{name}.public.pem"))
        self.flush()
        name_bytes = pathlib.Path(self.path(name + ".name")).read_bytes()
        (HERE / f"tpm2-tools-{name}.name").write_text(name_bytes.hex() + "\n")


def write_variants(public, private):
    keys = (octets(public), octets(private))
    loadable = oid(LOADABLE)
    persistent = bytes.fromhex("02050081000001")
    pem("empty-auth-one.pem", element(0x30, loadable, field(0, ONE), OWNER, *keys))
    pem("empty-auth-false.pem", element(0x30, loadable, field(0, FALSE), OWNER, *keys))
    pem("parent-zero.pem", element(0x30, loadable, field(0, TRUE), b"\x02\x01\x00", *keys))
    pem("parent-negative.pem",
        element(0x30, loadable, field(0, TRUE), bytes.fromhex("020481000001"), *keys))
    pem("all-fields.pem", element(
        0x30, loadable, field(0, TRUE), field(1, element(0x30, PCR_POLICY, AUTH_VALUE)),
        field(2, octets(b"secret of an importable key")),
        field(3, element(0x30,
                         element(0x30, field(0, element(12, b"boot")),
                                 field(1, element(0x30, PCR_POLICY))),
                         element(0x30, field(1, element(0x30, AUTH_VALUE))))),
        field(4, element(12, "Gerät 7".encode())), field(5, TRUE),
        field(6, octets(bytes.fromhex("000b" + "22" * 32))), persistent, *keys))
    pem("importable.pem", element(0x30, oid(IMPORTABLE), field(0, TRUE),
                                  field(2, octets(b"secret")), persistent, *keys))
    pem("old.pem", element(0x30, oid(OLD), field(0, TRUE), field(1, persistent),
                           field(2, octets(public)), octets(private)), "TSS2 KEY BLOB")
    pem("old-no-parent.pem", element(0x30, oid(OLD), field(2, octets(public)), octets(private)),
        "TSS2 KEY BLOB")


def main():
    os.umask(0o022)
    for old in (*HERE.glob("*.pem"), *HERE.glob("*.obj"), *HERE.glob("*.name")):
        old.unlink()
    with tempfile.TemporaryDirectory() as directory, Tpm(directory) as tpm:
        ec = tpm.create("ec", "-G", "ecc", "-a", OPEN + "sign|decrypt")
        tpm.encode("ec")
        tpm.create("ec-auth", "-G", "ecc384", "-p", "s3cret",
                   "-a", OPEN.replace("noda|", "") + "sign")
        tpm.encode("ec-auth", "-p")
        tpm.create("rsa", "-G", "rsa2048", "-a", OPEN + "sign|decrypt")
        tpm.encode("rsa")
        tpm.create("restricted", "-G", "rsa2048:rsassa-sha256:null",
                   "-a", OPEN + "restricted|sign")
        tpm.encode("restricted")
        write_variants(*ec)
        pathlib.Path(tpm.path("policy")).write_bytes(b"\x11" * 32)
        policy = tpm.create("policy", "-G", "ecc", "-L", tpm.path("policy"),
                            "-a", OPEN.replace("userwithauth|", "") + "sign")
        pem("policy.pem", element(0x30, oid(LOADABLE), field(0, TRUE),
                                  field(1, element(0x30, PCR_POLICY)), OWNER,
                                  octets(policy[0]), octets(policy[1])))
        pathlib.Path(tpm.path("data")).write_text("a sealed secret")
        sealed = tpm.create("sealed", "-i", tpm.path("data"))
        pem("sealed.pem", element(0x30, oid(SEALED), field(0, TRUE), OWNER,
                                  octets(sealed[0]), octets(sealed[1])))
        if len(sys.argv) > 1:
            for name, *options in (("rsa", "-algorithm", "RSA"),
                                   ("ec", "-algorithm", "EC", "-pkeyopt", "group:P-256",
                                    "-pkeyopt", "parent:0x81000001")):
                run("openssl", "genpkey", "-provider-path", sys.argv[1], "-provider", "tpm2",
                    "-provider", "default", *options, "-propquery", "?provider=tpm2",
                    "-out", str(HERE / f"tpm2-openssl-{name}.pem"),
                    TPM2OPENSSL_TCTI=os.environ["TPM2TOOLS_TCTI"])


if __name__ == "__main__":
    main()
