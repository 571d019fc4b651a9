"""The figures as a table in Markdown."""

from __future__ import annotations

from aims import aim_of
from figures import Comparison, Figure

SUITES = {
    "sign": ("Signatures", "a second"),
    "tls": ("Full mutual TLS handshakes, both sides in one thread", "a second"),
    "round trip": ("Signatures where every call is a round trip", "a second"),
    "reload": ("The same key loaded again in the process", "time"),
    "first load": ("A key loaded for the first time in a process", "time"),
    "tpm sign": ("Signatures by a TPM", "a second"),
    "tpm tls": ("Full mutual TLS handshakes with a TPM's key", "a second"),
    "process": ("A whole process that signs once (`openssl dgst -sign`)", "time"),
}
HEADINGS = {"hwid": "hwid", "raw_copy": "session copy", "software": "software"}

TEXT = """\
Each line compares ways to do the same work, in one run, in rounds: every contender runs once a
round, and the order moves on by one each time. A figure is the median over the rounds of the ratio
to *raw* in the same round; in brackets is where the true median lies with 95 % confidence.
Operations a second: more than 1 is faster than raw. Times: less than 1 is faster.

*raw* is PKCS#11 without OpenSSL: `C_SignInit` and `C_Sign` of a ready digest, on a session that
each thread holds; in a handshake an OpenSSL key whose private operation is those two calls; for a
key loaded again one search; for one loaded the first time `C_Initialize`, `C_Login` and one search;
for a process the 12 calls that it cannot do without. *session copy* is raw with `C_CopyObject` made
before. *software* is a PEM key with OpenSSL's default provider. *hwid* is a key from its URI, with
all that a program does: hashing, `EVP_DigestSign`, DER. A first signature of every contender was
verified. *Processor time* is hwid's ratio again, of the process's processor time, which other
programs on the machine disturb less. Calls are of the PKCS#11 module, for one operation (a signature, a load,
a process). An aim is *missed* where the whole interval lies on the wrong side of it.

The token is SoftHSM, which computes in this machine: its calls cost microseconds. On a chip or a
network token a call costs milliseconds, and their number decides: see *round trip*, where a module
takes a millisecond for each call, and where the token is behind p11-kit's socket.

The TPM is swtpm, by itself, and *raw* is `Esys_Sign` of tpm2-tss on one connection that the threads
take in turn (in a handshake with RSA `Esys_RSA_Decrypt` of a padded block); *calls* are TPM
commands. A command takes about a millisecond there, and ten to a hundred on a chip.
"""


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
        text += f", {time_text(comparison.seconds(name).median)}"
    return f"**{text}**" if name == "hwid" else text


def raw_text(comparison: Comparison) -> str:
    seconds = comparison.seconds(comparison.reference).median
    return f"{1 / seconds:,.0f}" if comparison.is_rate else time_text(seconds)


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
               ("threads", [str(one.threads) if one.is_rate else "" for one in rows]),
               (f"raw, {unit}", [raw_text(one) for one in rows]),
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


def markdown(comparisons: list[Comparison], machine: str, command: str) -> str:
    parts = ["# What hwid costs", "", "![The figures below as a picture](bench.svg)", "",
             f"Made by `{command}`, never by hand. {machine}", "", TEXT]
    present = {one.suite for one in comparisons}
    parts += [table(comparisons, suite) for suite in SUITES if suite in present]
    return "\n".join(parts)
