#!/bin/bash
# hwid bench: what it counts is right; of the times only that there are some.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

is() { # EXPRESSION VALUE: of the JSON
    [ "$(json "$1")" = "$2" ] || fail "$1 is not $2 but $(json "$1"): $(cat "$T/out")"
}
measured() { # URI OPTION...: as JSON; rates and times are there and make sense
    expect_exit 0 hwid bench "$@" --seconds 0.2 --json
    [ ! -s "$T/err" ] || fail "$(cat "$T/err")"
    is 'all(s["signatures"] > 0 and s["per_second"] > 0
        and 0 < s["median_us"] <= s["p90_us"] <= s["p99_us"] <= s["longest_us"]
        for r in d["rows"] for s in (r["hwid"], r["raw"]))' True
}
each_signature() { # NAME COUNT: so often was that asked for each, in every row
    is "{r['calls'].get('$1') for r in d['rows']}" "{$2}"
}
well_formed() { # FILE.svg TEXT...: a picture that has these texts
    python3 - "$@" << 'END'
import sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
for wanted in sys.argv[2:]:
    assert any(wanted in text for text in texts), (wanted, texts)
kinds = {each.tag.split("}")[1] for each in root.iter()}
assert kinds == {"svg", "rect", "text", "line"}, kinds
END
}

make_token line rsa:2048,label=rsa,id=01 'ec:P-256,label=<b>ec</b>,id=02' \
    edwards:ED25519,label=ed,id=03 ec:P-256,label=slow,id=04,always-authenticate
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/openssl.cnf" default-first line \
    'keys.device=pkcs11:id=%02;type=private'
export OPENSSL_CONF=$T/openssl.cnf

# --- two calls for a signature, by however many threads

forget_calls
HWID_TEST_REPORT=$T/counts measured hwid://device --threads 1,3 --plot "$T/plot.svg"
is '[r["hwid"]["threads"] if "threads" in r["hwid"] else r["threads"] for r in d["rows"]]' '[1, 3]'
each_signature C_SignInit 1.0
each_signature C_Sign 1.0
is 'all(2 <= r["calls_in_all"] < 3 for r in d["rows"])' True
# The module saw as many as are told.
told=$(json 'sum(s["signatures"] for r in d["rows"] for s in (r["hwid"], r["raw"]))')
[ "$(calls C_Sign)" -ge "$told" ] || fail "$(calls C_Sign) C_Sign, not $told"
[ "$(calls C_Sign)" -le $((told + 20)) ] || fail "$(calls C_Sign) C_Sign, not $told"
well_formed "$T/plot.svg" '<b>ec</b>' '1 thread' '3 threads' 'ECDSA' 'SoftHSM project'
measured 'pkcs11:token=line;object=rsa' --threads 2
each_signature C_Sign 1.0
is 'd["type"], d["scheme"]' "('RSA 2048', 'RSA PKCS#1 v1.5 SHA2-256')"
measured 'pkcs11:token=line;object=ed' --threads 1
is 'd["scheme"]' EdDSA

# Raw is a limit: of some tries, which other programs on the machine may disturb, one shows it.
for ((try = 1; ; ++try)); do
    measured hwid://device --threads 1
    json '[r["raw"]["median_us"] < 1.1 * r["hwid"]["median_us"] for r in d["rows"]]' > "$T/text"
    [ "$(cat "$T/text")" = '[True]' ] && break
    [ $try -lt 5 ] || fail "hwid is faster than raw: $(cat "$T/out")"
done

# In words.
expect_exit 0 hwid bench hwid://device --threads 1 --seconds 0.1
for text in 'a second' 'of raw' 'median' '99 % below' 'calls for a signature: 2.' 'C_Sign 1.00'; do
    expect_text "$T/out" "$text"
done

# A token that cannot be asked so has no raw limit, and is measured all the same.
expect_exit 0 hwid bench 'pkcs11:token=line;object=slow' --threads 1 --seconds 0.1 --json
expect_text "$T/err" 'the raw limit is not known'
is 'd["rows"][0]["raw"], d["rows"][0]["calls"]["C_Login"]' '(None, 1.0)'

# --- what cannot be measured

software_key "$T/soft.key" ec:P-256
refused 1 'no key in hardware' hwid bench "$T/soft.key"
refused 1 'no private key matches' hwid bench 'pkcs11:token=line;object=gone'
for threads in 0 x 1,,2 '1,' 1000; do
    refused 2 'numbers from 1 to 256' hwid bench hwid://device --threads $threads
done
refused 2 'more than 0' hwid bench hwid://device --seconds 0
refused 1 'exists already' hwid bench hwid://device --plot "$T/plot.svg"
refused 2 'it is for --plot' hwid bench hwid://device --force

# --- a TPM: one command

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip ec:P-256,label=ec rsa:2048,label=rsa
make_conf "$T/tpm.cnf" default-first chip
export OPENSSL_CONF=$T/tpm.cnf
measured 'pkcs11:token=chip;object=ec' --threads 1,2
each_signature TPM2_Sign 1.0
measured tpm2:handle=0x81000003 --threads 1
is 'd["device"].startswith("TPM chip (IBM")' True
hwid generate tpm2: --type ec:P-256 --out "$T/key.pem" > "$T/text"
measured "$T/key.pem" --threads 1
each_signature TPM2_Sign 1.0
sed '/^pin-source/d' "$T/tpm.cnf" > "$T/no-pin.cnf"
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u "$T/d.pub" -r "$T/d.priv" \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|decrypt'
tpm_tool tpm2_load -C 0x81000001 -u "$T/d.pub" -r "$T/d.priv" -c "$T/d.ctx"
tpm_tool tpm2_evictcontrol -C o -c "$T/d.ctx" 0x81000010
OPENSSL_CONF=$T/no-pin.cnf expect_exit 3 hwid bench tpm2:handle=0x81000010
expect_text "$T/err" 'sign'
