#!/bin/bash
# hwid status: certificates and CRLs by their times, tokens by their flags, a TPM's lockout; exit
# codes, text, JSON, and Prometheus' format.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
export XDG_STATE_HOME=$T/state

utc() { date -u -d "$1" +%y%m%d%H%M%SZ; } # TEXT: as openssl ca takes it
ca_tool() { plain_openssl ca -config "$T/ca.cnf" -batch "$@" 2> "$T/ca.err" || fail "$(cat "$T/ca.err")"; }
dated() { # NAME BEGIN END [SUBJECT]: $T/NAME.pem is valid from BEGIN to END (date -d)
    plain_openssl req -new -key "$T/ca.key" -subj "${4:-/CN=$1}" -out "$T/$1.csr" -utf8
    ca_tool -in "$T/$1.csr" -startdate "$(utc "$2")" -enddate "$(utc "$3")" -notext -out "$T/$1.pem"
}
crl() { # NAME LAST NEXT
    ca_tool -gencrl -crl_lastupdate "$(utc "$2")" -crl_nextupdate "$(utc "$3")" -out "$T/$1.pem"
}
status() { # CODE OPTION...: the JSON answer is in $T/out
    local code=$1
    shift
    expect_exit "$code" hwid status --json "$@"
    [ ! -s "$T/err" ] || fail "$(cat "$T/err")"
}
state() { # STATE CHECK SUBJECT: what the JSON answer in $T/out says of it
    [ "$(json "[c['state'] for c in d['checks'] if c['check'] == '$2' and c['subject'] == '$3']")" = \
        "['$1']" ] || fail "not $1: $2 $3: $(cat "$T/out")"
}
text() { # CHECK SUBJECT TEXT: it says so
    case $(json "[c['text'] + '; ' + str(c['next']) for c in d['checks']
        if c['check'] == '$1' and c['subject'] == '$2']") in
        *"$3"*) ;;
        *) fail "no \"$3\": $(cat "$T/out")" ;;
    esac
}
# promtool is rarely there: the format of https://prometheus.io/docs/instrumenting/exposition_formats/
cat > "$T/metrics.py" << 'END'
import re, sys
def parse(text):
    assert text.endswith("\n") and "\r" not in text and "\n\n" not in text, "lines"
    samples, types, helps, current = {}, {}, {}, None
    for line in text[:-1].split("\n"):
        if m := re.fullmatch(r"# HELP (\w+) ((?:[^\\]|\\[\\n])+)", line):
            assert m[1] not in helps, line
            helps[m[1]] = m[2]
            current = m[1]
        elif m := re.fullmatch(r"# TYPE (\w+) gauge", line):
            assert m[1] == current and m[1] not in types, line
            types[m[1]] = "gauge"
        else:
            m = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (-?[0-9]+)", line)
            assert m and m[1] == current and m[1] in types, line
            rest, labels = m[2] or "", {}
            while rest:
                label = re.match(r'([a-z_]+)="((?:[^"\\]|\\[\\"n])*)"(?:,|$)', rest)
                assert label and label[1] not in labels, rest
                assert all(c.isprintable() for c in label[2]), label[2]
                labels[label[1]] = re.sub(
                    r"\\(.)", lambda e: "\n" if e[1] == "n" else e[1], label[2])
                rest = rest[label.end():]
            key = (m[1], tuple(sorted(labels.items())))
            assert key not in samples, line
            samples[key] = int(m[3])
    return samples
samples = parse(open(sys.argv[1], encoding="utf-8", newline="").read())
def value(name, **labels):
    found = [v for (n, l), v in samples.items() if n == name and labels.items() <= dict(l).items()]
    assert len(found) == 1, (name, labels, found, samples)
    return found[0]
def absent(name, **labels):
    return not [1 for (n, l) in samples if n == name and labels.items() <= dict(l).items()]
exec(sys.argv[2])
END
metrics() { # STATEMENTS: about the metrics in $T/hwid.prom
    python3 "$T/metrics.py" "$T/hwid.prom" "$1" || fail "$1: $(cat "$T/hwid.prom")"
}
# Whether something keeps this machine's clock right decides about one row.
CLOCK=$(python3 -c 'import ctypes, sys
timex = (ctypes.c_char * 512)() # modes, four longs, status
code = ctypes.CDLL(None).adjtimex(timex)
at = 5 * ctypes.sizeof(ctypes.c_long)
unsynchronized = int.from_bytes(timex[at:at + 4], sys.byteorder) & 0x40
print("unknown" if code < 0 else "warning" if unsynchronized else "ok")')
if [ "$CLOCK" = warning ]; then GOOD=1; else GOOD=0; fi # the exit code where all else is good

make_ca ca
mkdir "$T/issued"
: > "$T/index"
echo 1000 > "$T/serial"
cat > "$T/ca.cnf" << END
[ca]
default_ca = here
[here]
database = $T/index
serial = $T/serial
new_certs_dir = $T/issued
certificate = $T/ca.pem
private_key = $T/ca.key
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
organizationName = optional
END
dated good '1 day ago' '200 days 12 hours'
dated soon '100 days ago' '20 days'
dated urgent '60 days ago' '3 days'
dated ended '9 days ago' '2 days ago'
dated early '2 days' '300 days'
crl fresh '1 day ago' '29 days'
crl due '29 days ago' '3 days'
crl late '9 days ago' '1 hour ago'
crl unborn '1 day' '9 days'

# --- no configuration of ours: certificates, CRLs and the clock
export OPENSSL_CONF=$T/plain.cnf
status $GOOD --cert "$T/good.pem"
state ok certificate CN=good
text certificate CN=good 'in 200 days'
text certificate CN=good "$T/good.pem"
state "$CLOCK" clock synchronization
state ok clock time
state unknown configuration "$T/plain.cnf"
status 1 --cert "$T/soon.pem"
state warning certificate CN=soon
text certificate CN=soon 'hwid csr'
status $GOOD --cert "$T/soon.pem" --warn-days 10
status 0 --cert "$T/soon.pem" --fail-on critical
status 1 --cert "$T/soon.pem" --critical-days 25 --fail-on critical
# Of a short life less is soon, unless somebody says how much.
dated young '1 hour ago' '23 hours'
dated aged '19 hours ago' '5 hours'
dated last '22 hours ago' '2 hours'
status $GOOD --cert "$T/young.pem"
state ok certificate CN=young
status 1 --cert "$T/young.pem" --warn-days 1
state warning certificate CN=young
status 1 --cert "$T/young.pem" --critical-days 1
state critical certificate CN=young
status 1 --cert "$T/aged.pem"
state warning certificate CN=aged
status 1 --cert "$T/last.pem"
state critical certificate CN=last
for name in urgent ended early; do
    status 1 --cert "$T/$name.pem" --fail-on critical
    state critical certificate "CN=$name"
done
text certificate CN=early 'not valid before'
state critical clock time # the newest begin lies in the future
status 1 --cert "$T/ended.pem"
text certificate CN=ended 'ended 20'
[ "$(json '[c["value"] for c in d["checks"] if c["subject"] == "CN=ended"][0]')" = \
    "$(date -d "$(plain_openssl x509 -in "$T/ended.pem" -noout -enddate | cut -d= -f2)" +%s)" ]
status 0 --crl "$T/fresh.pem" --fail-on critical
state ok crl CN=ca
status 1 --crl "$T/due.pem"
state warning crl CN=ca
status 1 --crl "$T/late.pem" --fail-on critical
state critical crl CN=ca
text crl CN=ca 'was due'
status 1 --crl "$T/unborn.pem" --fail-on critical
# Several in one file, DER, the same one twice, and what is none.
cat "$T/good.pem" "$T/soon.pem" "$T/good.pem" > "$T/bundle.pem"
plain_openssl x509 -in "$T/urgent.pem" -outform DER -out "$T/urgent.der"
plain_openssl crl -in "$T/late.pem" -outform DER -out "$T/late.der"
status 1 --cert "$T/bundle.pem" --cert "$T/urgent.der" --cert "$T/good.pem" --crl "$T/late.der" \
    --crl "$T/fresh.pem"
[ "$(json '[c["subject"] for c in d["checks"] if c["check"] == "certificate"]')" = \
    "['CN=urgent', 'CN=soon', 'CN=good']" ] || fail "$(cat "$T/out")"
state critical crl "CN=ca, $T/late.der"
state ok crl "CN=ca, $T/fresh.pem"
head -c 400 "$T/good.pem" > "$T/cut.pem"
status 1 --cert "$T/none.pem" --cert "$T/cut.pem" --crl "$T/good.pem" --crl "$T/none.pem" \
    --fail-on critical
state critical certificate "$T/none.pem"
text certificate "$T/none.pem" 'No such file'
state critical certificate "$T/cut.pem"
state critical crl "$T/good.pem"
state critical crl "$T/none.pem"
refused 2 'warning or critical' hwid status --fail-on bad
refused 2 'more than' hwid status --warn-days 3 --critical-days 4
refused 2 'no duration' hwid status --pin-max-age soon
refused 2 'pin-source' hwid status --pin-source "file:$T/pin"
refused 2 'standard output' hwid status --json --prometheus -
refused 3 "$T/none.conf" hwid status --config "$T/none.conf"

# --- a token, with certificates; nobody logs in
make_token line ec:P-256,label=device,id=01
dated device '60 days ago' '5 days'
dated old '1 day ago' '100 days' /CN=device
dated plain '1 day ago' '90 days'
add_certificate line device 01 "$T/device.pem"
add_certificate line old 02 "$T/old.pem"
export HWID_TEST_CONTROL=$T/control HWID_TEST_REPORT=$T/counts
: > "$T/control"
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/openssl.cnf" default-first line \
    "keys.device=$(key_uri line device)"
export OPENSSL_CONF=$T/openssl.cnf
cat > "$T/device.conf" << END
endpoint = mqtts://localhost
client-id = device
ca-file = $T/ca.pem
cert = $T/plain.pem
key = hwid://device
crl-file = $T/fresh.pem
END
status 1 --config "$T/device.conf" --prometheus "$T/hwid.prom"
state ok token line
state ok pin line
state ok pin-age line
state ok certificate CN=ca
state ok certificate CN=plain
state ok crl CN=ca
# Two of one subject: each has its serial number, whichever the token lists first.
serial_of() { plain_openssl x509 -in "$T/$1.pem" -noout -serial | cut -d= -f2; }
serial=$(serial_of device)
state critical certificate "CN=device, serial $serial"
state ok certificate "CN=device, serial $(serial_of old)"
[ "$(calls C_Login)" = 0 ] || fail 'it logged in'
end=$(date -d "$(plain_openssl x509 -in "$T/plain.pem" -noout -enddate | cut -d= -f2)" +%s)
next=$(date -d "$(plain_openssl crl -in "$T/fresh.pem" -noout -nextupdate | cut -d= -f2)" +%s)
metrics "
import time
assert value('hwid_certificate_not_after_timestamp_seconds', subject='CN=plain') == $end
assert value('hwid_certificate_not_after_timestamp_seconds', subject='CN=plain', issuer='CN=ca',
             source='$T/plain.pem') == $end
assert value('hwid_crl_next_update_timestamp_seconds', issuer='CN=ca') == $next
assert value('hwid_token_pin_state', token='line', backend='dev') == 0
assert 0 <= value('hwid_pin_age_seconds', token='line') < 900
assert value('hwid_check_state', check='certificate', subject='CN=device, serial $serial') == 2
assert value('hwid_check_state', check='token', subject='line') == 0
assert abs(value('hwid_status_timestamp_seconds') - time.time()) < 300
assert absent('hwid_tpm_lockout_failures')
clock = {'ok': 1, 'warning': 0}.get('$CLOCK')
assert absent('hwid_clock_synchronized') if clock is None else value('hwid_clock_synchronized') == clock"
[ "$(stat -c %a "$T/hwid.prom")" = 644 ] || fail mode
expect_exit 1 hwid status --config "$T/device.conf" --prometheus -
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
grep -v 'timestamp\|age' "$T/hwid.prom" > "$T/a"
grep -v 'timestamp\|age' "$T/out" | cmp - "$T/a"
ln -s hwid.prom "$T/link.prom"
refused 3 'No such file' hwid status --prometheus "$T/none/hwid.prom"
refused 2 '--prometheus: its value is empty' hwid status --prometheus ''
refused 2 '--fail-on: its value is empty' hwid status --fail-on ''
refused 3 'symbolic link' hwid status --prometheus "$T/link.prom"

# For people: the worst first, aligned, no colours where there is no terminal.
expect_exit 1 hwid status --config "$T/device.conf"
head -n 1 "$T/out" | grep -qE "^  critical  certificate  +CN=device, serial [0-9A-F]+  +(ends|ended) 20.*; get a new one" ||
    fail "$(cat "$T/out")"
python3 - "$T/out" << 'END'
import sys
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
rows = [line for line in lines if line.startswith("  ")]
order = ["critical", "warning", "unknown", "ok"]
states = [row.split()[0] for row in rows]
assert states == sorted(states, key=order.index), states
assert lines[-1].startswith("1 critical, ") and lines[-2] == "", lines
assert len({row.index(row.split()[1], 10) for row in rows}) == 1, rows
END
if grep -qF "$(printf '\033')" "$T/out"; then fail 'colours without a terminal'; fi
script -qec "'$HWID_TOOLS_DIR/hwid' status" /dev/null < /dev/null > "$T/out" || true
if command -v script > /dev/null; then expect_text "$T/out" "$(printf '\033[1;31mcritical')"; fi

# A URI as a certificate's name; none there.
status 1 --cert 'pkcs11:token=line;object=old;type=cert' --cert 'pkcs11:token=line;object=no' \
    --cert hwid://device
state critical certificate 'pkcs11:token=line;object=no'
# A token that asks for a login even to look, a wrong PIN in openssl.cnf: still nobody logs in.
echo 9999 > "$T/pin"
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/openssl.cnf" default-first line \
    'dev.login-behavior = always'
forget_calls
status 1 --cert 'pkcs11:token=line;object=no'
[ "$(calls C_Login)" = 0 ] || fail 'it logged in'
[ "$(calls C_GetTokenInfo)" != 0 ] || fail 'nothing was counted'

# --- what the token says of its PIN (PKCS#11 3.0, table 6)
pin() { # STATE METRIC FLAG TEXT
    echo "token-flags +$3" > "$T/control"
    status 1 --prometheus "$T/hwid.prom"
    state "$1" pin line
    text pin line "$4"
    metrics "assert value('hwid_token_pin_state', token='line') == $2"
}
pin warning 1 0x10000 'wrong PIN'
pin critical 2 0x20000 'the next wrong PIN locks it'
pin critical 3 0x40000 'hwid pin unblock'
pin warning 0 0x80000 'to be changed'
echo 'token-flags -0x8' > "$T/control"
status 1 --prometheus "$T/hwid.prom"
state warning pin line
metrics "assert absent('hwid_token_pin_state')"
: > "$T/control"
touch -d '100 days ago' "$T/pin"
status 1
state ok pin-age line
status 1 --pin-max-age 90d
state warning pin-age line
text pin-age line '100 days old'
status 1 --pin-max-age 101d
state ok pin-age line

# --- a token that is not there, a module that is not there, an openssl.cnf that is wrong
make_conf "$T/openssl.cnf" default-first gone
status 1 --fail-on critical --prometheus "$T/hwid.prom"
state critical token gone
text token gone 'hwid list'
metrics "assert value('hwid_check_state', check='token', subject='gone') == 2"
HWID_CONF_MODULE=$T/none.so make_conf "$T/openssl.cnf" default-first line
status 1 --fail-on critical
state critical token line
text token line "$T/none.so"
make_conf "$T/openssl.cnf" default-first line 'dev.max-sessions = many'
status 1 --fail-on critical --cert "$T/good.pem"
state ok certificate CN=good
state critical configuration "$T/openssl.cnf"

# --- a state directory that others have a place in, too
mkdir -p "$T/shared/lost+found/gen-1" "$T/shared/photos/2026" "$T/shared/mine/gen-1"
chmod 0700 "$T/shared/lost+found"
echo '{' > "$T/shared/lost+found/renewal.json"
cp "$T/good.pem" "$T/shared/mine/gen-1/cert.pem"
ln -s gen-1 "$T/shared/mine/current"
printf '%s\n' "ca-file = $T/ca.pem" "cert = $T/good.pem" "state-dir = $T/shared" > "$T/shared.conf"
in_shared() { # what is told of there
    json 'sorted(c["subject"] + " " + c["state"] for c in d["checks"]
        if c["source"].startswith("'"$T"'/shared/"))'
}
status 0,1 --config "$T/shared.conf"
[ "$(in_shared)" = "['mine ok']" ] || fail "$(cat "$T/out")"
mkdir -m 0700 "$T/shared/theirs"
if can_be_nobody; then
    chmod -R a+rX "$T/shared/mine" "$T/shared/photos" "$T"/{ca,good}.pem "$T/shared.conf" "$T/plain.cnf"
    expect_exit 0,1 as_nobody env OPENSSL_CONF="$T/plain.cnf" "$HWID_TOOLS_DIR/hwid" status --json \
        --config "$T/shared.conf"
    [ "$(in_shared)" = "['mine ok', 'theirs unknown']" ] || fail "$(cat "$T/out" "$T/err")"
    text renewal theirs 'cannot be read: Permission denied'
fi
# One that hwid has, and something in it is closed or gone, is told of.
rm "$T/shared/mine/gen-1/cert.pem"
status 1 --config "$T/shared.conf" --fail-on critical
state critical renewal mine
text renewal mine 'enrol anew: hwid enroll est'
echo 'profile = aws' >> "$T/shared.conf"
status 1 --config "$T/shared.conf" --fail-on critical
text renewal mine 'enrol anew: hwid provision aws'

# --- the hub that Azure has assigned, or not yet
mkdir "$T/azure"
printf '%s\n' 'profile = azure' 'id-scope = 0ne00000000' 'registration-id = line-7' \
    "state-dir = $T/azure" > "$T/azure.conf"
status 1 --config "$T/azure.conf"
state warning hub line-7
text hub line-7 'hwid provision azure'
printf '%s\n' 'client-id = line-7' 'endpoint = mqtts://hub.example' 'profile = azure' \
    > "$T/azure/learned.conf"
status 0,1 --config "$T/azure.conf"
state ok hub line-7
text hub line-7 'mqtts://hub.example, as device line-7'
echo 'endpoint' > "$T/azure/learned.conf"
refused 3 'learned.conf' hwid status --config "$T/azure.conf"

# --- hostile subjects and labels
make_conf "$T/openssl.cnf" default-first line
dated hostile '1 day ago' '50 days' "$(printf '/CN=a"b\\\\\\n{}=,\033[31m\xc2\x9b\xe2\x80\xae')"
dated long '1 day ago' '50 days' "$(python3 -c 'print("/CN=x" + "/O=" .join([""] + ["o" * 64] * 80))')"
status 1 --cert "$T/hostile.pem" --cert "$T/long.pem" --prometheus "$T/hwid.prom"
metrics "assert len([1 for n, _ in samples if n == 'hwid_certificate_not_after_timestamp_seconds']) == 4"
expect_exit 1 hwid status --cert "$T/hostile.pem" --cert "$T/long.pem"
python3 - "$T/out" << 'END'
import sys, unicodedata
text = open(sys.argv[1], encoding="utf-8", newline="").read()
assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}, text
END

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip
make_conf "$T/openssl.cnf" default-first chip
rm "$T/pin"
echo 'old' > "$T/pin"
status $GOOD --prometheus "$T/hwid.prom"
state ok token chip
state ok pin chip
state ok lockout chip
tpm_tool tpm2_dictionarylockout --setup-parameters --max-tries=3 --recovery-time=1000 \
    --lockout-recovery-time=1000
# A key that counts: wrong auth values are failures, and the third locks.
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u "$T/da.pub" -r "$T/da.priv" -p right \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign'
tpm_tool tpm2_load -C 0x81000001 -u "$T/da.pub" -r "$T/da.priv" -c "$T/da.ctx"
tpm_tool tpm2_evictcontrol -C o -c "$T/da.ctx" 0x81000010
fail_once() {
    expect_failure env -u LD_PRELOAD TPM2TOOLS_TCTI="$TPM_TCTI" TSS2_LOG=all+NONE \
        tpm2_sign -c 0x81000010 -p wrong -g sha256 -o "$T/signature" "$T/plain.cnf"
}
fail_once
status 1 --prometheus "$T/hwid.prom"
state warning lockout chip
state warning pin chip
text lockout chip '1 of 3 failures'
text lockout chip 'one is forgiven each'
metrics "
assert value('hwid_tpm_lockout_failures', token='chip') == 1
assert value('hwid_tpm_lockout_max', token='chip') == 3
assert value('hwid_token_pin_state', token='chip') == 1
assert value('hwid_check_state', check='lockout', subject='chip') == 1"
fail_once
status 1 --fail-on critical
state critical pin chip
text pin chip "hwid pin unblock 'pkcs11:token=chip'"
fail_once
status 1 --fail-on critical
state critical lockout chip
text lockout chip "hwid pin unblock 'pkcs11:token=chip'"
stop_daemon "$TPM_PID"
status 1 --fail-on critical
state critical token chip
