#!/bin/bash
# hwid audit: the trail that the provider wrote, in files and in a system log, and what else such
# files may hold.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

OPENSSL=$(readlink -f "$(command -v openssl)")
record() { # TIME OP OBJECT RESULT DURATION [DROPPED [EXE [UID]]]: a line as the provider writes it
    printf '{"time":"%s","pid":7,"uid":%s,"exe":"%s","backend":"dev","token":"line","object":"%s",' \
        "$1" "${8:-0}" "${7:-/usr/bin/program}" "$3"
    printf '"op":"%s","mechanism":"CKM_ECDSA","result":"%s","duration_us":%s,"dropped":%s}\n' \
        "$2" "$4" "$5" "${6:-0}"
}
uses() { # COUNT FAILED OPERATION OBJECT TOKEN: in the JSON summary in $T/out
    [ "$(json "[(u['count'], u['failed'], u['operations']['$3']['count'], u['uid'])
        for u in d['uses'] if u['object'] == '$4' and u['token'] == '$5'
        and u['exe'] == '$OPENSSL']")" = "[($1, $2, ${6:-1}, $(id -u))]" ] || fail "$(cat "$T/out")"
}
sign() { openssl dgst -sha256 -sign "$1" -out "$T/signature" "$T/plain.cnf"; }

# --- what the provider writes, in both worlds
make_token line ec:P-256,label=ec,id=01 rsa:2048,label=rsa,id=02
make_conf "$T/openssl.cnf" default-first line "keys.ec=$(key_uri line ec)" "audit = file:$T/audit"
export OPENSSL_CONF=$T/openssl.cnf
sign hwid:ec
sign hwid:ec
sign "$(key_uri line rsa)"
echo 9999 > "$T/wrong"
expect_failure openssl dgst -sha256 -sign "$(key_uri line rsa)?pin-source=file:$T/wrong" "$T/pin"
expect_exit 0 hwid audit "$T/audit" --json
uses 4 0 sign ec line 2
uses 3 1 sign rsa line
[ "$(json '[(f["token"], f["failed"], f["last_result"]) for f in d["failed_logins"]]')" = \
    "[('line', 1, 'CKR_PIN_INCORRECT')]" ] || fail "$(cat "$T/out")"
[ "$(json 'd["failed"], d["foreign_lines"], d["dropped"], d["failures"]')" = \
    "(2, 0, 0, [{'op': 'load', 'result': 'CKR_PIN_INCORRECT', 'count': 1}, \
{'op': 'login', 'result': 'CKR_PIN_INCORRECT', 'count': 1}])" ] || fail "$(cat "$T/out")"
[ "$(json 'd["count"] == d["lines"] == sum(o["count"] for o in d["operations"])')" = True ]
[ "$(json 'd["first"], d["last"]')" = "$(python3 -c 'import json, sys
times = [json.loads(line)["time"] for line in open(sys.argv[1])]
print((min(times), max(times)))' "$T/audit")" ] || fail 'first and last'
expect_exit 0 hwid audit "$T/audit"
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
grep -qE "^  4 +0 +load 2, sign 2 +line/ec +$OPENSSL \(uid $(id -u)\)$" "$T/out" ||
    fail "$(cat "$T/out")"
grep -qE "^  1 +20.*Z +CKR_PIN_INCORRECT +line +$OPENSSL" "$T/out" || fail "$(cat "$T/out")"
for text in 'events        ' 'slowest operations' durations failures; do
    expect_text "$T/out" "$text"
done
if grep -qF "$(printf '\033')" "$T/out"; then fail 'colours without a terminal'; fi
# Lines come out as the provider wrote them.
hwid audit --lines "$T/audit" | cmp - "$T/audit"

# --- what hwid itself does with keys
sed "s|^audit = .*|audit = file:$T/own|" "$T/openssl.cnf" > "$T/own.cnf"
OPENSSL_CONF=$T/own.cnf expect_exit 0 hwid generate 'pkcs11:token=line;object=made'
OPENSSL_CONF=$T/own.cnf expect_exit 1 hwid list 'pkcs11:token=line' --pin-source "file:$T/wrong"
[ "$(python3 -c 'import json, sys
print([(e["op"], e["token"], e["object"], e["result"], e["exe"] == sys.argv[2])
       for e in map(json.loads, open(sys.argv[1]))])' "$T/own" "$HWID_TOOLS_DIR/hwid")" = \
    "[('login', 'line', '', 'ok', True), ('generate', 'line', 'made', 'ok', True), \
('login', 'line', '', 'CKR_PIN_INCORRECT', True)]" ] || fail "$(cat "$T/own")"
(umask 077 && echo 4321 > "$T/new")
OPENSSL_CONF=$T/own.cnf expect_exit 1 hwid pin change 'pkcs11:token=line' \
    --pin-source "file:$T/wrong" --new-pin-source "file:$T/new"
[ "$(tail -n 1 "$T/own" | json '(d["op"], d["token"], d["result"])' /dev/stdin)" = \
    "('login', 'line', 'CKR_PIN_INCORRECT')" ] || fail "$(cat "$T/own")"
OPENSSL_CONF=$T/own.cnf expect_exit 0 hwid delete 'pkcs11:token=line;object=made' --yes
sed 's|^audit = .*|audit = nonsense|' "$T/openssl.cnf" > "$T/own.cnf"
OPENSSL_CONF=$T/own.cnf refused 3 'nonsense' hwid list 'pkcs11:token=line'

# --- filters
count() { # COUNT OPTION...: of the lines
    local wanted=$1 code=0
    shift
    [ "$wanted" != 0 ] || code=1
    expect_exit $code hwid audit "$T/audit" --lines "$@"
    [ "$(wc -l < "$T/out")" = "$wanted" ] || fail "not $wanted: $*: $(cat "$T/out")"
}
count 3 --op sign
count 2 --op sign --key ec
count 1 --op sign --key rsa --result ok
count 2 --result failed
count 1 --result failed --op login
count 2 --result CKR_PIN_INCORRECT --token line
count 0 --token lin
count 0 --uid 4242
count 2 --op sign --key ec --uid "$(id -u)" --exe openssl --since 1h
count 2 --op sign --key ec --exe "$OPENSSL" --until 2999-01-01
count 0 --exe ssl
count 0 --until 1h
expect_text "$T/err" 'no event matches'
count 0 --since 2999-01-01T10:00
count 0 --pid 1
refused 2 'none of load' hwid audit "$T/audit" --op sing
refused 2 '--since' hwid audit "$T/audit" --since yesterday
refused 2 '--until' hwid audit "$T/audit" --until 2026-02-30
refused 2 'nothing is between' hwid audit "$T/audit" --since 2026-02-03 --until 2026-02-02
refused 2 'JSON already' hwid audit "$T/audit" --lines --json
refused 2 'expects FILE' hwid audit
refused 3 'No such file' hwid audit "$T/none"
refused 2 '--pid: a number from 0 on' hwid audit "$T/audit" --pid -1
refused 2 '--key: its value is empty' hwid audit "$T/audit" --key ''
refused 2 --pin-source hwid audit "$T/audit" --pin-source "file:$T/pin"
refused 3 'Is a directory' hwid audit "$T"
gzip -c "$T/audit" > "$T/audit.gz"
refused 3 'zcat FILE | hwid audit -' hwid audit "$T/audit.gz"
if [ "$(id -u)" != 0 ]; then
    install -m 000 "$T/audit" "$T/secret"
    refused 3 'Permission denied' hwid audit "$T/secret"
fi

# --- rotated files, in any order, each once; the standard input
{
    record 2026-01-01T00:00:00.000000Z sign ec ok 100
    record 2026-01-01T00:00:01.000000Z sign ec ok 200 3
} > "$T/log.2"
record 2026-01-02T00:00:00.000000Z sign ec CKR_DEVICE_REMOVED 70000000 2 > "$T/log.1"
record 2026-01-03T00:00:00.000000Z login '' CKR_PIN_INCORRECT 5 0 /bin/other 12 > "$T/log"
cat "$T/log.2" "$T/log.1" "$T/log" > "$T/all"
ln -s log.1 "$T/log.again"
expect_exit 0 hwid audit --lines "$T/log.1" "$T/log" "$T/log.2" "$T/log.again"
cmp "$T/out" "$T/all"
expect_text "$T/err" "log.again is $T/log.1: it is read once"
expect_text "$T/err" 'warning: 5 events are missing'
hwid audit - --json < "$T/all" > "$T/piped" 2> "$T/err"
hwid audit "$T/all" --json > "$T/out" 2> "$T/err"
cmp "$T/piped" "$T/out"
[ "$(json '[(s["duration_us"], s["time"], s["object"], s["mechanism"]) for s in d["slowest"]][0]')" = \
    "(70000000, '2026-01-02T00:00:00.000000Z', 'ec', 'CKM_ECDSA')" ] || fail "$(cat "$T/out")"
[ "$(json 'd["dropped"]')" = 5 ]
# What was lost is lost of every key: a filter by key does not hide it, one by time does.
hwid audit "$T/all" --key none --json > "$T/out" 2> "$T/err" || true
[ "$(json 'd["dropped"], d["count"], d["first"]')" = '(5, 0, None)' ] || fail "$(cat "$T/out")"
hwid audit "$T/all" --json --since 2026-01-02 --until 2026-01-03 > "$T/out" 2> "$T/err"
[ "$(json 'd["dropped"], d["count"]')" = '(2, 1)' ] || fail "$(cat "$T/out")"
hwid audit "$T/all" > "$T/out" 2> "$T/err"
expect_text "$T/out" '70.000 s'
expect_text "$T/out" '/bin/other (uid 12)'

# --- a system log, with its other programs' lines; none of them can speak for the provider
{
    printf 'Nov  8 17:00:00 host hwid-audit[77]: '
    record 2026-01-04T00:00:00.000000Z sign short ok 1
    printf '<86>Nov 28 17:00:00 hwid-audit[77]: '
    record 2026-01-04T00:00:01.000000Z sign raw ok 1
    printf '2026-11-28T17:00:00.123456+01:00 host hwid-audit[77]: '
    record 2026-01-04T00:00:02.000000Z sign iso ok 1
    printf 'Nov  8 17:00:00 host sshd[9]: hello\n'
    for head in 'sshd[9]: hwid-audit[77]: ' 'nothwid-audit[77]: ' 'hwid-audit[x]: ' 'hwid-audit: ' \
        'sshd[9]: user hwid-audit[7]: '; do
        printf 'Nov  8 17:00:00 host %s' "$head"
        record 2026-01-05T00:00:00.000000Z sign forged ok 1
    done
} > "$T/syslog"
expect_exit 0 hwid audit "$T/syslog" --lines
[ "$(python3 -c 'import json, sys
print(*[json.loads(line)["object"] for line in open(sys.argv[1])])' "$T/out")" = 'short raw iso' ] ||
    fail "$(cat "$T/out")"
expect_text "$T/err" '6 of 9 lines are no audit lines'

# --- percentiles, many events, more distinct names than are kept
python3 - "$T/many" << 'END'
import json, random, sys
random.seed(7)
with open(sys.argv[1], "w") as out:
    for i in range(30000):
        out.write(json.dumps({
            "time": "2026-01-01T00:00:00.%06dZ" % i, "pid": i, "uid": i % 3, "exe": "/bin/%d" % i,
            "backend": "b", "token": "t", "object": "k", "op": "sign" if i % 3 else "op%d" % i,
            "mechanism": "", "result": "R%d" % i if i % 5 == 0 else "ok",
            "duration_us": int(random.lognormvariate(8, 2)), "dropped": 0}) + "\n")
END
/usr/bin/env bash -c "ulimit -v 400000; '$HWID_TOOLS_DIR/hwid' audit '$T/many' --json" \
    > "$T/out" 2> "$T/err" || { [ -n "${HWID_PRELOAD:-}" ] && hwid audit "$T/many" --json > "$T/out"; }
python3 - "$T/many" "$T/out" << 'END'
import json, math, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
d = json.load(open(sys.argv[2]))
times = sorted(line["duration_us"] for line in lines if line["op"] == "sign")
sign = next(o for o in d["operations"] if o["op"] == "sign")
assert sign["count"] == len(times) and sign["longest_us"] == times[-1], sign
for name, share in (("p50_us", 50), ("p99_us", 99)):
    exact = times[math.ceil(len(times) * share / 100) - 1]
    assert exact <= sign[name] <= exact * (1 + 1 / 32), (name, exact, sign)
assert sum(o["count"] for o in d["operations"]) == d["count"] == len(lines)
assert sum(u["count"] for u in d["uses"]) == len(lines) and len(d["uses"]) == 1001, len(d["uses"])
assert [u for u in d["uses"] if u.get("others")], "no others"
assert sum(f["count"] for f in d["failures"]) == d["failed"] == 6000
slow = sorted((line["duration_us"] for line in lines), reverse=True)[:10]
assert [s["duration_us"] for s in d["slowest"]] == slow, d["slowest"]
END
hwid audit "$T/many" > "$T/out"
expect_text "$T/out" 'more: --json has them'
expect_text "$T/out" '(others)'

# --- hostile and damaged lines: counted, never shown, never a crash
python3 - "$T/hostile" "$(record 2026-01-01T00:00:00.000000Z sign ok ok 1)" << 'END'
import json, sys
good = json.loads(sys.argv[2])
def line(**changed):
    return json.dumps({**good, **changed}, ensure_ascii=False).encode("utf-8", "surrogatepass")
bad = [b"not json", b"{", b"{}", b"[]", b"null", b"\xff\xfe{}", b"\0" * 100, b'"' + b"x" * 1000000,
       b"[" * 4000, b'{"a":' * 800, json.dumps(good).encode()[:-9], json.dumps(good).encode() + b"x",
       line(time="yesterday"), line(time="2026-02-30T00:00:00.000000Z"), line(time=7),
       line(time="2026-01-01T00:00:00Z"), line(time="2026-01-01T24:00:00.000000Z"),
       line(pid="7"), line(pid=-1), line(pid=1.5), line(uid=None), line(duration_us=2**64),
       line(dropped=[]), line(op=""), line(op=["sign"]), line(object=None), line(result={}),
       line(object="\ud800"), line(object="x" * 5000), json.dumps({"time": good["time"]}).encode(),
       b"\x1b]0;owned\x07\x1b[2J", json.dumps(good).encode() + b"\0", line(object="a") * 3000]
fine = [line(), line(object="\x1b[31mred\x1b[0m\r\n\u009b31m\u202egnp\u2066\u200f\x7f"),
        line(object="\u00e4\u20ac\U0001f511", extra={"unknown": [1]}), line(token="\0\0"),
        line(exe="/bin/" + "e" * 900, object="k" * 1000, result="\u2028")]
with open(sys.argv[1], "wb") as out:
    for each in bad + fine:
        out.write(each + b"\n")
    out.write(line())  # the last one has no end
print(len(bad), len(fine) + 1)
END
expect_exit 0 hwid audit "$T/hostile"
expect_text "$T/err" '33 of 39 lines are no audit lines'
python3 - "$T/out" << 'END'
import sys, unicodedata
text = open(sys.argv[1], encoding="utf-8", newline="").read()
bad = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"}
assert not bad, bad
assert "\\x1b[31mred" in text and "\u00e4\u20ac\U0001f511" in text, text
END
expect_exit 0 hwid audit "$T/hostile" --lines
python3 - "$T/out" << 'END'
import json, sys, unicodedata
text = open(sys.argv[1], encoding="utf-8", newline="").read()
assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"}
lines = [json.loads(line) for line in text.splitlines()]
assert lines[1]["object"] == "\x1b[31mred\x1b[0m\r\n\u009b31m\u202egnp\u2066\u200f\x7f", lines[1]
assert len(lines) == 6 and "extra" not in lines[2] and lines[4]["result"] == "\u2028", lines
END
hwid audit "$T/hostile" --lines > "$T/canonical" 2> "$T/err"
hwid audit "$T/canonical" --lines | cmp - "$T/canonical" # what comes out goes in again
head -c 3000000 /dev/urandom > "$T/noise"
expect_exit 1 hwid audit "$T/noise"
expect_text "$T/err" 'lines are no audit lines'
: > "$T/empty"
expect_exit 1 hwid audit "$T/empty"
expect_exit 1 hwid audit "$T/empty" --json
[ "$(json 'd["count"], d["lines"], d["uses"]')" = '(0, 0, [])' ] || fail "$(cat "$T/out")"

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip keys.ec=tpm2:handle=0x81000002 \
    "audit = file:$T/audit.tpm"
sign hwid:ec
expect_failure openssl dgst -sha256 -sign "tpm2:handle=0x81000002?pin-source=file:$T/wrong" "$T/pin"
expect_exit 0 hwid audit "$T/audit.tpm" "$T/audit" --json --token chip
[ "$(json '[f["result"] for f in d["failures"]]')" = "['TPM_RC_BAD_AUTH']" ] ||
    fail "$(cat "$T/out")"
expect_exit 0 hwid audit "$T/audit.tpm" --op sign --result ok
expect_text "$T/out" 'chip/'
