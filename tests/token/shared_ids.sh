#!/bin/bash
# Keys that share a CKA_ID: the public half of one is not taken for that of another.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need pkcs11-tool
make_token line ec:P-256,label=first,id=01 ec:P-256,label=second,id=01
make_conf "$T/openssl.cnf" default-first line
export OPENSSL_CONF=$T/openssl.cnf
opensc() { # ARGUMENT...
    env -u LD_PRELOAD OPENSSL_CONF="$T/plain.cnf" pkcs11-tool --module "$HWID_SOFTHSM_MODULE" \
        --token-label line --login --pin "$PIN" "$@" > "$T/out" 2>&1 ||
        fail "pkcs11-tool $*: $(cat "$T/out")"
}
public_half() { # LABEL FILE: of the private key
    openssl pkey -in "pkcs11:token=line;object=$1;type=private" -pubout -out "$2"
}
signs_for() { # LABEL PUBLIC-KEY
    openssl dgst -sha256 -sign "pkcs11:token=line;object=$1;type=private" -out "$T/signature" "$T/pin"
    plain_openssl dgst -sha256 -verify "$2" -signature "$T/signature" "$T/pin" > /dev/null
}

# The halves of a pair have one label.
for label in first second; do
    openssl pkey -pubin -in "pkcs11:token=line;object=$label;type=public" -pubout -out "$T/$label.pub"
    public_half "$label" "$T/half"
    cmp "$T/$label.pub" "$T/half"
    signs_for "$label" "$T/$label.pub"
done

# Also where all are listed.
openssl storeutl -noout -text 'pkcs11:token=line' > "$T/out"
awk '/^[0-9]+: / {kind = $2} /^    Object:/ {name = $2} /^pub:/ {n = 1; text = ""; next}
     n && /^    / {text = text $1; next} n {print name, kind, text; n = 0}' "$T/out" | sort > "$T/listed"
for label in first second; do
    [ "$(awk -v l=$label '$1 == l {print $3}' "$T/listed" | sort -u | wc -l)" = 1 ] ||
        fail "$label has several: $(cat "$T/listed")"
done
[ "$(awk '{print $3}' "$T/listed" | sort -u | wc -l)" = 2 ] || fail "not two keys: $(cat "$T/listed")"

# Where no label says which is the half, the key itself does.
opensc --delete-object --type pubkey --label second
plain_openssl pkey -pubin -in "$T/second.pub" -outform DER -out "$T/second.der"
opensc --write-object "$T/second.der" --type pubkey --label renamed --id 01
public_half second "$T/half"
cmp "$T/second.pub" "$T/half"
signs_for second "$T/second.pub"
openssl req -new -subj /CN=device -key 'pkcs11:token=line;object=second;type=private' -out "$T/csr"
plain_openssl req -in "$T/csr" -verify -noout 2> "$T/out" || fail "$(cat "$T/out")"

# Certificates likewise: one of another key with this id is not this key's.
make_ca root
plain_openssl req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -keyout "$T/other.key" \
    -subj /CN=other -days 3 -out "$T/other.pem"
plain_openssl x509 -new -subj /CN=second -force_pubkey "$T/second.pub" -days 3 -CA "$T/root.pem" \
    -CAkey "$T/root.key" -out "$T/second.pem"
for label in renamed first; do opensc --delete-object --type pubkey --label $label; done
add_certificate line other 01 "$T/other.pem"
add_certificate line own 01 "$T/second.pem"
public_half second "$T/half"
cmp "$T/second.pub" "$T/half"

# An Edwards key cannot say which.
for n in 2 3 4; do
    openssl genpkey -propquery hwid.keys=yes -algorithm ED25519 -out "$T/edwards.pem" \
        -pkeyopt "hwid_uri:pkcs11:token=line;object=edwards$n;id=%0$n"
done
opensc --delete-object --type pubkey --label edwards2
for n in 3 4; do opensc --type pubkey --id "0$n" --set-id 02; done
expect_failure public_half edwards2 "$T/half"
expect_text "$T/out" 'the public keys or certificates that the token has for it differ; give those of'
opensc --delete-object --type pubkey --label edwards3
opensc --delete-object --type pubkey --label edwards4
expect_failure public_half edwards2 "$T/half"
expect_text "$T/out" 'the token holds no public half of it; store its public key or certificate with'
