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
list_keys() { # into $T/listed, a line each: LABEL KIND POINT
    HWID_LOG=warn:stderr openssl storeutl -noout -text 'pkcs11:token=line' > "$T/out" 2> "$T/err"
    awk '/^[0-9]+: / {kind = $2} /^    Object:/ {name = $2} /^pub:/ {n = 1; text = ""; next}
         n && /^    / {text = text $1; next} n {print name, kind, text; n = 0}' "$T/out" | sort > "$T/listed"
}
expect_listed() { # LABEL: with its own half
    local point
    point=$(plain_openssl pkey -pubin -in "$T/$1.pub" -noout -text |
        awk '/^pub:/ {n = 1; next} n && /^    / {printf "%s", $1; next} {n = 0}')
    list_keys
    expect_text "$T/listed" "$1 Pkey $point"
}
expect_unlisted() { # LABEL WHY: the private key has no half that a listing could know
    list_keys
    if grep "^$1 Pkey" "$T/listed"; then fail "$1 has another key's half: $(cat "$T/listed")"; fi
    expect_text "$T/err" "object=$1;id=%01;type=private: $2"
}
for label in first second; do expect_listed "$label"; done
[ "$(awk '{print $3}' "$T/listed" | sort -u | wc -l)" = 2 ] || fail "not two keys: $(cat "$T/listed")"

# What has another key's label is that key's; a certificate is looked at also beside public keys.
opensc --delete-object --type pubkey --label second
expect_unlisted second 'the token holds no public half of it'
public_half second "$T/half"
cmp "$T/second.pub" "$T/half"
make_ca root
plain_openssl x509 -new -subj /CN=second -force_pubkey "$T/second.pub" -days 3 -CA "$T/root.pem" \
    -CAkey "$T/root.key" -extfile /dev/null -out "$T/second.pem" # not what OpenSSL 4 takes instead
for label in second own; do
    add_certificate line $label 01 "$T/second.pem"
    expect_listed second
    expect_listed first
    opensc --delete-object --type cert --label $label
done

# Where no label says which is the half, the key itself does.
write_public() { # LABEL KEY.pem [OPTION...]
    plain_openssl pkey -pubin -in "$2" -pubout -outform DER -out "$T/public.der" "${@:3}"
    opensc --write-object "$T/public.der" --type pubkey --label "$1" --id 01
}
plain_openssl genpkey -algorithm EC -pkeyopt group:P-256 -out "$T/other.key"
plain_openssl pkey -in "$T/other.key" -pubout -out "$T/other.pub"
write_public renamed "$T/second.pub"
expect_listed second
write_public other "$T/other.pub"
expect_unlisted second 'the public keys or certificates that the token has for it differ'
public_half second "$T/half"
cmp "$T/second.pub" "$T/half"
signs_for second "$T/second.pub"
openssl req -new -subj /CN=device -key 'pkcs11:token=line;object=second;type=private' -out "$T/csr"
plain_openssl req -in "$T/csr" -verify -noout 2> "$T/out" || fail "$(cat "$T/out")"
# The label of a certificate does, too.
add_certificate line second 01 "$T/second.pem"
expect_listed second
opensc --delete-object --type cert --label second

# A half that cannot be read is none, and another is not taken for it.
opensc --delete-object --type pubkey --label renamed
write_public second "$T/second.pub" -ec_param_enc explicit
expect_unlisted second 'CKA_EC_PARAMS is no named curve'
public_half second "$T/half"
cmp "$T/second.pub" "$T/half"
add_certificate line second 01 "$T/second.pem"
expect_listed second
opensc --delete-object --type cert --label second

# Certificates likewise: one of another key with this id is not this key's.
plain_openssl req -new -x509 -key "$T/other.key" -subj /CN=other -days 3 -out "$T/other.pem"
for label in second other first; do opensc --delete-object --type pubkey --label $label; done
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
