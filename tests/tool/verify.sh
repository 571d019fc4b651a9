#!/bin/bash
# hwid verify on PKCS#11 tokens: keys that stay, keys that can leave, files, and certificates.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/verify.bash
. "$HWID_TESTS_DIR/tool/verify.bash"

key() { printf 'pkcs11:token=line;object=%s' "$1"; }
directory_state() { # of all objects; each login writes into token.object
    find "$T/tokens" -type f ! -name token.object -exec sha256sum {} + | sort
}

make_token line rsa:2048,label=rsa,id=01 ec:P-256,label=ec,id=02 \
    ec:P-256,label=open,id=03,extractable rsa:2048,label=wrappable,id=04,wrappable \
    ec:P-256,label=readable,id=05,readable edwards:ED25519,label=edwards,id=07 \
    edwards:X25519,label=agrees,id=08 ec:P-256,label=careful,id=09,always-authenticate
software_key "$T/soft.key" rsa:2048
import_key line imported 06 "$T/soft.key"
make_ca ca
make_conf "$T/openssl.cnf" default-first line "keys.device=$(key rsa)"
export OPENSSL_CONF=$T/openssl.cnf
openssl req -new -key hwid://device -subj /CN=device -out "$T/device.csr"
issue_cert ca device client "$T/device.csr"
issue_cert ca other client rsa:2048

# --- a key that stays, in words

before=$(directory_state)
expect_exit 0 hwid verify hwid://device --cert "$T/device.pem"
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
for text in 'key rsa' 'RSA 2048' 'CN=device' 'CKA_SENSITIVE' 'C_GetAttributeValue CKA_PRIME_1' \
    'CKR_ATTRIBUTE_SENSITIVE' 'C_WrapKey CKM_AES_KEY_WRAP' 'CKR_KEY_UNEXTRACTABLE' 'SoftHSM project' \
    'verdict software-token' 'that device is software' 'checked in software with the certificate'; do
    expect_text "$T/out" "$text"
done
[ "$(directory_state)" = "$before" ] || fail 'the token has changed'

# --- the same as JSON: every private attribute, every mechanism that wraps, each refused

verdict software-token 0 "$(key rsa)" --cert "$T/device.pem"
for name in PRIVATE_EXPONENT PRIME_1 PRIME_2 EXPONENT_1 EXPONENT_2 COEFFICIENT; do
    found "C_GetAttributeValue CKA_$name" CKR_ATTRIBUTE_SENSITIVE good
done
pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --list-mechanisms 2> "$T/text" |
    awk '/[ ,]wrap/ {n++} END {print n + 0}' > "$T/wrapping"
[ "$(cat "$T/wrapping")" -ge 5 ] || fail "pkcs11-tool shows no wrapping mechanisms"
is 'len([c for c in d["checks"] if c["asked"].startswith("C_WrapKey")])' "$(cat "$T/wrapping")"
is '{c["finding"] for c in d["checks"] if c["group"] == "attempts"}' "{'good'}"
is '[c["finding"] for c in d["checks"] if c["group"] == "certificate"]' "['good', 'good', 'good']"
for call in C_CopyObject C_SetAttributeValue; do
    found "$call CKA_SENSITIVE=false" CKR_ATTRIBUTE_READ_ONLY good
    found "$call CKA_EXTRACTABLE=true" CKR_ATTRIBUTE_READ_ONLY good
done
is 'd["certificate"]["subject"], d["key"]["type"], d["evidence"]' "('CN=device', 'RSA 2048', [])"
is 'd["device"]["manufacturer"], "SoftHSM" in d["device"]["software"]' "('SoftHSM project', True)"
plain_openssl x509 -in "$T/device.pem" -noout -pubkey > "$T/device.pub"
fingerprint=$(plain_openssl pkey -pubin -in "$T/device.pub" -outform DER | sha256sum)
is 'd["key"]["sha256"]' "${fingerprint%% *}"

# Whoever reads the report can check the signature.
signature_verifies() { # PUBLIC-KEY
    json 'd["signature"]["message"]' | head -c -1 > "$T/message"
    json 'd["signature"]["value"]' | base64 -d > "$T/signature"
    plain_openssl dgst -sha256 -verify "$1" -signature "$T/signature" "$T/message" > "$T/text" ||
        fail "$(cat "$T/text")"
}
signature_verifies "$T/device.pub"
verdict software-token 0 "$(key ec)"
openssl pkey -in "$(key ec)" -pubout -out "$T/ec.pub"
signature_verifies "$T/ec.pub"
is '[c["asked"] for c in d["checks"] if c["asked"].startswith("C_GetAttr")]' \
    "['C_GetAttributeValue CKA_VALUE']"
first=$(json 'd["signature"]["message"]')
verdict software-token 0 "$(key ec)"
[ "$(json 'd["signature"]["message"]')" != "$first" ] || fail 'the message is not fresh'

# Keys of other kinds sign, or agree on a secret.
verdict software-token 0 "$(key edwards)"
openssl pkey -in "$(key edwards)" -pubout -out "$T/edwards.pub"
json 'd["signature"]["message"]' | head -c -1 > "$T/message"
json 'd["signature"]["value"]' | base64 -d > "$T/signature"
plain_openssl pkeyutl -verify -pubin -inkey "$T/edwards.pub" -rawin -in "$T/message" \
    -sigfile "$T/signature" > "$T/text" || fail "$(cat "$T/text")"
verdict software-token 0 "$(key agrees)"
found 'agreement on a fresh secret' right good
verdict software-token 0 "$(key careful)"
found CKA_ALWAYS_AUTHENTICATE true good

# The page that is filed is enough for that, and so is the JSON.
checks_out() { # COMMAND: with key.pem, message.txt and signature.bin in $T/filed
    local command
    read -ra command <<< "${1#openssl }"
    (cd "$T/filed" && plain_openssl "${command[@]}") > "$T/text" 2>&1 || fail "$1: $(cat "$T/text")"
    printf x >> "$T/filed/message.txt"
    if (cd "$T/filed" && plain_openssl "${command[@]}") > "$T/text" 2>&1; then fail "$1: any message is right"; fi
}
mkdir "$T/filed"
for name in rsa ec edwards; do
    expect_exit 0 hwid verify "$(key $name)" --html "$T/filed/$name.html" --json
    json 'd["key"]["public_key"]' > "$T/filed/key.pem"
    json 'd["signature"]["message_base64"]' | base64 -d > "$T/filed/message.txt"
    json 'd["signature"]["value"]' | base64 -d > "$T/filed/signature.bin"
    checks_out "$(json 'd["signature"]["check"]')"
    rm "$T/filed"/*.{pem,txt,bin}
    checks_out "$(python3 - "$T/filed" "$name" << 'END'
import base64, html, pathlib, re, sys
directory = pathlib.Path(sys.argv[1])
page = (directory / (sys.argv[2] + ".html")).read_text()
part = lambda id: html.unescape(re.search(f'<pre id="{id}">(.*?)</pre>', page, re.S)[1])
(directory / "key.pem").write_text(part("key") + "\n")
(directory / "message.txt").write_bytes(base64.b64decode(part("message")))
(directory / "signature.bin").write_bytes(base64.b64decode(part("signature")))
print(html.unescape(re.search(r"<code>(openssl .*?)</code>", page)[1]))
END
)"
done

# --- where hardware is required

verdict software-token 1 "$(key rsa)" --require-hardware
is '"Hardware is required" in d["reasons"][-1]' True

# --- keys that can leave

verdict can-leave 1 "$(key open)"
found CKA_SENSITIVE false bad
found 'C_GetAttributeValue CKA_VALUE' CKR_OK bad
found 'C_WrapKey CKM_AES_KEY_WRAP' CKR_OK bad
verdict can-leave 1 "$(key wrappable)"
found CKA_SENSITIVE true good
found CKA_EXTRACTABLE true bad
found 'C_GetAttributeValue CKA_PRIME_1' CKR_ATTRIBUTE_SENSITIVE good
found 'C_WrapKey CKM_AES_KEY_WRAP_PAD' CKR_OK bad
found 'C_SetAttributeValue CKA_EXTRACTABLE=true' 'not asked' note
# SoftHSM keeps that one all the same, but does not promise to.
verdict can-leave 1 "$(key readable)"
found CKA_SENSITIVE false bad
found CKA_EXTRACTABLE false good
found 'C_GetAttributeValue CKA_VALUE' CKR_ATTRIBUTE_SENSITIVE good
found 'C_WrapKey CKM_AES_KEY_WRAP' CKR_KEY_UNEXTRACTABLE good
expect_exit 1 hwid verify "$(key open)"
expect_text "$T/out" '32 bytes came out, and were wiped at once'
expect_text "$T/out" 'verdict can-leave'

# One that came from outside stays now; copies may be elsewhere.
verdict software-token 0 "$(key imported)"
found CKA_LOCAL false warning
is 'any("copy of it may be elsewhere" in r for r in d["reasons"])' True

# --- certificates

verdict software-token 1 "$(key rsa)" --cert "$T/other.pem"
found "certificate's public key" "another key's" bad
is '[c["finding"] for c in d["checks"] if "fresh message" in c["asked"]]' "['bad']"
plain_openssl x509 -req -in "$T/device.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" \
    -not_before 20200101000000Z -not_after 20200201000000Z -out "$T/old.pem" 2> "$T/text" ||
    plain_openssl x509 -req -in "$T/device.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -days -1 \
        -out "$T/old.pem" 2> "$T/text" || fail "$(cat "$T/text")"
verdict software-token 1 "$(key rsa)" --cert "$T/old.pem"
is "$(check "certificate's dates")[\"meaning\"]" 'it has expired'
refused 3 'No such file' hwid verify "$(key rsa)" --cert "$T/nothing.pem"
# On the token: by its own URI, and beside the key.
add_certificate line rsa-cert 01 "$T/device.pem"
add_certificate line ec-cert 0a "$T/other.pem"
for cert in 'pkcs11:token=line;object=rsa-cert;type=cert' 'pkcs11:token=line;object=rsa-cert' \
    hwid://device hwid:device "$(key rsa)"; do
    verdict software-token 0 "$(key rsa)" --cert "$cert"
    is 'd["certificate"]["subject"]' CN=device
    is '[c["finding"] for c in d["checks"] if c["group"] == "certificate"]' "['good', 'good', 'good']"
done
verdict software-token 1 "$(key rsa)" --cert 'pkcs11:token=line;object=ec-cert'
found "certificate's public key" "another key's" bad
refused 1 'there is no certificate' hwid verify "$(key rsa)" --cert "$(key agrees)"
refused 1 '2 certificates; name one' hwid verify "$(key rsa)" --cert 'pkcs11:token=line;type=cert'
refused 2 'unknown attribute' hwid verify "$(key rsa)" --cert 'pkcs11:tokn=line'
before=$(directory_state)

# --- files: what stands for a key, and what is one

hwid ref "$(key ec)" --out "$T/ec.ref" > "$T/text"
verdict software-token 0 "$T/ec.ref"
is 'd["device"]["label"]' line
verdict can-leave 1 "$T/soft.key" --cert "$T/device.pem"
found "certificate's public key" "another key's" bad
issue_cert ca soft client "$T/soft.key"
verdict can-leave 1 "$T/soft.key" --cert "$T/soft.pem"
is '[c["finding"] for c in d["checks"] if c["group"] == "certificate"]' "['good', 'good', 'good']"
is 'd["device"]["kind"], "file" in d["reasons"][0]' "('file', True)"
plain_openssl pkey -in "$T/soft.key" -aes256 -passout pass:secret -out "$T/locked.key"
PHRASE=secret verdict can-leave 1 "$T/locked.key" --pin-source env:PHRASE

[ "$(directory_state)" = "$before" ] || fail 'the token has changed'

# --- what cannot be verified

refused 1 'no private key matches' hwid verify "$(key gone)"
# A name that is not there is that, too.
refused 1 'the name is not configured' hwid verify hwid:nosuch
refused 2 'the name is not configured' hwid verify hwid:
refused 1 '9 private keys' hwid verify pkcs11:token=line
refused 2 'expects URI' hwid verify
refused 3 'No such file' hwid verify "$T/nothing.pem"
(umask 077 && echo wrong > "$T/wrong-pin")
refused 1 CKR_PIN_INCORRECT hwid verify "$(key rsa)" --pin-source "file:$T/wrong-pin"
