"""The figures as a table in Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from aims import aim_of
from figures import Comparison, Figure

SUITES = {
    "sign": ("Signatures", "a second"),
    "tls": ("Full mutual TLS handshakes, both sides in one thread", "a second"),
    "round trip": ("Signatures where every call is a round trip", "a second"),
    "reload": ("The same key loaded again in the process", "time"),
    "first load": ("A key loaded for the first time in a process", "time"),
    "listing": ("Everything on a token listed (`openssl storeutl`'s work)", "time"),
    "listing memory": ("What a process grows by when it lists a token", "a process"),
    "tpm sign": ("Signatures by a TPM", "a second"),
    "tpm tls": ("Full mutual TLS handshakes with a TPM's key", "a second"),
    "process": ("A whole process that signs once (`openssl dgst -sign`)", "time"),
    "messages": ("Messages to a broker over mutual TLS", "a second"),
    "gateway": ("A gateway connects its devices over mutual TLS", "a second"),
    "gateway memory": ("A gateway's memory", "a connection"),
}
FOOTPRINT = "## Sizes, and memory of an idle device"  # footprint.py's, at the end of bench.md
HEADINGS = {"hwid": "hwid", "hwid_all": "every signature verified", "raw_copy": "session copy",
            "software": "software"}

COMMON = """\
Each line compares ways to do the same work, in one run, in rounds: every contender runs once a
round, and the order moves on by one each time. A figure is the median over the rounds of the ratio
to *{reference}* in the same round; in brackets is where the true median lies with 95 % confidence.
Operations a second: more than 1 is faster than *{reference}*. Times and memory: less than 1 is
better. An aim is *missed* where the whole interval lies on the wrong side of it.
"""

PROVIDER = """\
*raw* is PKCS#11 without OpenSSL: `C_SignInit` and `C_Sign` of a ready digest, on a session that
each thread holds; in a handshake an OpenSSL key whose private operation is those two calls; for a
key loaded again one search; for one loaded the first time `C_Initialize`, `C_Login` and one search;
for a list a search and one `C_GetAttributeValue` for each object;
for a process the 12 calls that it cannot do without. *session copy* is raw with `C_CopyObject` made
before. *software* is a PEM key with OpenSSL's default provider. *hwid* is a key from its URI, with
all that a program does: hashing, `EVP_DigestSign`, DER. A first signature of every contender was
verified. *Processor time* is hwid's ratio again, of the process's processor time, which other
programs on the machine disturb less. Calls are of the PKCS#11 module, for one operation (a
signature, a load, a process).

The token is SoftHSM, which computes in this machine: its calls cost microseconds. On a chip or a
network token a call costs milliseconds, and their number decides: see *round trip*, where a module
takes a millisecond for each call, and where the token is behind p11-kit's socket.

The TPM is swtpm, by itself, and *raw* is `Esys_Sign` of tpm2-tss on one connection that the threads
take in turn (in a handshake with RSA `Esys_RSA_Decrypt` of a padded block); *calls* are TPM
commands. A command takes about a millisecond there, and ten to a hundred on a chip. *Every
signature verified* is hwid with `verify-signatures = all`, where the program's thread verifies in
software what the TPM has signed, while other threads have the TPM.
"""

TRANSPORT = """\
Messages go to a mosquitto on this machine over one connection with a key in a file and a clean
session, a hundred on their way at once: *hwid* is `hwid::transport`, *paho* the library that it is
made of, Paho C++, used directly. The gateway is one process with 500 devices, each with a key, a certificate and a
connection of its own: *mosquitto* is mosquitto's client library with keys in files and one thread
that polls all clients, *software* is `hwid::transport` with keys in files, *hwid* with all keys in
one SoftHSM token, where each is found, checked against its certificate and used for the first time.
The broker shares the machine, so its part of a handshake is in all three. Memory is the growth of
the process (Pss in its smaps_rollup) by a connection.
"""


@dataclass(frozen=True)
class Document:
    """A file in doc/, and its picture."""

    title: str
    reference: str           # what is compared with, for the picture
    contender: str           # the same, for the text
    text: str
    suites: tuple[str, ...]

    def of(self, comparisons: list[Comparison]) -> list[Comparison]:
        return [one for one in comparisons if one.suite in self.suites]


TRANSPORT_SUITES = ("messages", "gateway", "gateway memory")
DOCUMENTS = {
    "bench": Document("What hwid costs", "raw PKCS#11", "raw", PROVIDER,
                      tuple(suite for suite in SUITES if suite not in TRANSPORT_SUITES)),
    "gateway": Document("What hwid::transport costs", "the other library", "the other library",
                        TRANSPORT, TRANSPORT_SUITES),
}


def footprint_of(page: str) -> str:
    """The section of footprint.py, with the empty line before it; empty where there is none."""
    at = page.find("\n" + FOOTPRINT + "\n")
    return "" if at < 0 else page[at:]


def amount_text(comparison: Comparison, amount: float) -> str:
    if comparison.is_memory:
        return f"{amount / 1024:.0f} KiB"
    return time_text(amount)


def time_text(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.1f} ms"


def ratio_text(figure: Figure) -> str:
    return f"{figure.median:.2f} ({figure.low:.2f}–{figure.high:.2f})"


def cell(comparison: Comparison, name: str) -> str:
    if name not in comparison.names():
        return ""
    text = ratio_text(comparison.ratio(name))
    if name == "hwid" and not comparison.is_rate:
        text += f", {amount_text(comparison, comparison.seconds(name).median)}"
    return f"**{text}**" if name == "hwid" else text


def raw_text(comparison: Comparison) -> str:
    seconds = comparison.seconds(comparison.reference).median
    return f"{1 / seconds:,.0f}" if comparison.is_rate else amount_text(comparison, seconds)


def calls_text(comparison: Comparison) -> str:
    calls = [comparison.calls(name) for name in ("hwid", comparison.reference)]
    if calls[0] is None:
        return ""
    mine, raw = ("–" if count is None else f"{count:g}" for count in calls)
    return f"{mine} (raw {raw})"


def cpu_text(comparison: Comparison) -> str:
    figure = comparison.cpu_ratio("hwid")
    return "" if figure is None else f"{figure.median:.2f}"


def aim_text(comparison: Comparison) -> str:
    aim = aim_of(comparison)
    if not aim:
        return ""
    return aim.text + (" (missed)" if aim.missed(comparison) else "")


def table(comparisons: list[Comparison], suite: str) -> str:
    """With the columns that have something to say."""
    title, unit = SUITES[suite]
    rows = [one for one in comparisons if one.suite == suite]
    columns = [("", [one.name for one in rows]),
               ("threads", [str(one.threads) if one.has_threads else "" for one in rows]),
               (f"{rows[0].reference}, {unit}", [raw_text(one) for one in rows]),
               *((HEADINGS[name], [cell(one, name) for one in rows]) for name in HEADINGS),
               ("processor time", [cpu_text(one) for one in rows]),
               ("calls", [calls_text(one) for one in rows]),
               ("aim", [aim_text(one) for one in rows])]
    columns = [column for column in columns if any(column[1])]
    lines = ["| " + " | ".join(heading for heading, _ in columns) + " |",
             "|" + "---|" * len(columns)]
    for index in range(len(rows)):
        lines.append("| " + " | ".join(cells[index] for _, cells in columns) + " |")
    return "\n".join([f"## {title}", "", *lines, ""])


def markdown(name: str, comparisons: list[Comparison], machine: str, command: str) -> str:
    document = DOCUMENTS[name]
    parts = [f"# {document.title}", "", f"![The figures below as a picture]({name}.svg)", "",
             f"Made by `{command}`, never by hand. {machine}", "",
             COMMON.format(reference=document.contender), document.text]
    present = {one.suite for one in comparisons}
    parts += [table(comparisons, suite) for suite in document.suites if suite in present]
    return "\n".join(parts)
