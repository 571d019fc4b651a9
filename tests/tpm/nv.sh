#!/bin/bash
# Certificates in a TPM's NV memory, and its endorsement keys, as stock openssl sees them; written by
# tpm2-tools.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
need tpm2_nvdefine
deliver_tpm
start_tpm
make_parent 0x81000001
make_tpm_key 0x81000002 ec:P-256
make_ca ca
# shellcheck disable=SC2034  # of make_conf
TPM_OBJECTS=(device=0x81000002 stored=0x1500001)
HWID_WORLD=tpm make_conf "$T/tpm.cnf" default-first tpm-token dev.policies=hwid_policies
sed -i '/^pin-source = /d' "$T/tpm.cnf"
printf '[hwid_policies]\npcr = policy_pcr\n[policy_pcr]\nstatements = pcr\npcr = sha256:16\n' >> "$T/tpm.cnf"
export OPENSSL_CONF=$T/tpm.cnf
openssl req -new -key tpm2:handle=0x81000002 -subj /CN=device -out "$T/device.csr"
issue_cert ca device client "$T/device.csr"
plain_openssl x509 -in "$T/device.pem" -outform DER -out "$T/device.der"
plain_openssl x509 -in "$T/ca.pem" -outform DER -out "$T/ca.der"

store() { # INDEX FILE ATTRIBUTES [ARGUMENT...]
    local index=$1 file=$2 attributes=$3
    shift 3
    tpm_tool tpm2_nvdefine "$index" -C o -a "$attributes" -s "$(stat -c %s "$file")" "$@"
    tpm_tool tpm2_nvwrite -C o -i "$file" "$index"
}
subjects() { # TOTAL URI: of the certificates there, in one line in $T/subjects
    openssl storeutl -certs -text "$2" > "$T/out" 2> "$T/err" || fail "$2: $(cat "$T/err")"
    expect_text "$T/out" "Total found: $1"
    sed -n 's/^ *Subject: //p' "$T/out" | paste -sd' ' > "$T/subjects"
}
fails() { # TEXT URI: nothing is there, and the message says why
    expect_failure openssl x509 -noout -in "$2"
    expect_text "$T/out" "$1"
}
lockout_is() { # COUNT
    tpm_tool tpm2_getcap properties-variable
    grep -q "TPM2_PT_LOCKOUT_COUNTER: 0x$1\$" "$T/tpm.out" || fail "lockout: $(cat "$T/tpm.out")"
}

# --- DER, PEM, several, what fills the index up, the header of TCG's profile

OPEN='ownerwrite|ownerread|authread|no_da'
cp "$T/device.der" "$T/filled.der"
head -c 300 /dev/zero | tr '\0' '\377' >> "$T/filled.der"
cat "$T/device.pem" "$T/ca.pem" > "$T/chain.pem"
size=$(stat -c %s "$T/device.der")
printf '\x10\x01\x00%b\x10\x02' "$(printf '\\x%02x\\x%02x' $((size >> 8)) $((size & 255)))" > "$T/tcg"
cat "$T/device.der" >> "$T/tcg"
store 0x1500001 "$T/device.der" "$OPEN"
store 0x1500002 "$T/filled.der" "$OPEN"
store 0x1500003 "$T/chain.pem" "$OPEN"
store 0x1500004 "$T/tcg" "$OPEN"
for index in 1 2 4; do
    openssl x509 -in "tpm2:nv=0x150000$index" | cmp - "$T/device.pem"
done
openssl x509 -in tpm2://nv=1500001 | cmp - "$T/device.pem"
openssl x509 -in tpm2:handle=0x1500001 | cmp - "$T/device.pem"
subjects 2 tpm2:nv=0x1500003
[ "$(tr -d ' ' < "$T/subjects")" = CN=deviceCN=ca ] || fail "$(cat "$T/subjects")"
forget_calls
openssl x509 -noout -in tpm2:nv=0x1500001
# NV_ReadPublic, the size of the TPM's buffer, NV_Read
[ "$(tpm_commands)" = 3 ] || fail "$(tpm_commands) commands"
[ "$(tpm_commands 14e)" = 1 ] || fail "$(tpm_commands 14e) of NV_Read"

# --- by its name; beside a key

openssl x509 -in 'pkcs11:token=tpm-token;object=stored' | cmp - "$T/device.pem"
openssl x509 -in 'pkcs11:token=tpm-token;object=stored;type=cert' | cmp - "$T/device.pem"
openssl x509 -in 'pkcs11:token=tpm-token;object=device;type=cert' | cmp - "$T/device.pem"
openssl x509 -in tpm2:handle=0x81000002 | cmp - "$T/device.pem"
expect_failure openssl pkey -noout -in tpm2:nv=0x1500001
expect_text "$T/out" 'an NV index holds certificates'

# --- a listing has them; what may not be read hides none

tpm_tool tpm2_nvdefine 0x1500010 -C o -a 'ownerwrite|authread' -s 10
store 0x1500011 "$T/device.der" 'ownerwrite|authread' -p sesame
head -c 40 /dev/urandom > "$T/noise"
store 0x1500012 "$T/noise" "$OPEN"
subjects 7 tpm2: # the five of above, and those of two endorsement keys
lockout_is 0
subjects 7 pkcs11:token=tpm-token

# --- a public key, alone: of a peer, or of who signs

plain_openssl pkey -in "$T/ca.key" -pubout -out "$T/peer.pub"
plain_openssl pkey -in "$T/ca.key" -pubout -outform DER -out "$T/peer.der"
store 0x1500030 "$T/peer.der" "$OPEN"
store 0x1500031 "$T/peer.pub" "$OPEN"
openssl pkey -in tpm2:handle=0x81000002 -pubout -out "$T/device.pub"
plain_openssl pkeyutl -derive -inkey "$T/ca.key" -peerkey "$T/device.pub" -out "$T/secret"
for uri in tpm2:nv=0x1500030 tpm2:nv=0x1500031 handle:0x1500030; do
    openssl pkey -pubin -in "$uri" | cmp - "$T/peer.pub"
    openssl pkeyutl -derive -inkey tpm2:handle=0x81000002 -peerkey "$uri" | cmp - "$T/secret"
done
plain_openssl dgst -sha256 -sign "$T/ca.key" -out "$T/signature" "$T/device.der"
openssl dgst -sha256 -verify tpm2:nv=0x1500030 -signature "$T/signature" "$T/device.der"
fails 'it holds a public key, and no certificate' tpm2:nv=0x1500031
expect_failure openssl pkey -noout -in tpm2:nv=0x1500031
expect_text "$T/out" 'a public key, and no private keys'
no_public_key() { # TEXT URI (From 3.5 on OpenSSL may ask for a private key then, and tell only of that.)
    expect_failure openssl pkey -pubin -noout -in "$2"
    case $(openssl version) in
        'OpenSSL 3.0.'*) expect_text "$T/out" "$1" ;;
        *) grep -qF -e "$1" -e 'a public key, and no private keys' "$T/out" || fail "$(cat "$T/out")" ;;
    esac
}
no_public_key 'it holds a certificate, and no public key by itself' tpm2:nv=0x1500001
plain_openssl genpkey -algorithm DH -pkeyopt group:ffdhe2048 -out "$T/dh.key"
plain_openssl pkey -in "$T/dh.key" -pubout -outform DER -out "$T/dh.der"
store 0x1500032 "$T/dh.der" "$OPEN"
no_public_key 'object=0x1500032: key type DH is not served' tpm2:nv=0x1500032
subjects 7 tpm2:

# --- auth values: each is tried once

(umask 077 && echo sesame > "$T/auth" && echo wrong > "$T/wrong")
openssl x509 -in "tpm2:nv=0x1500011?pin-source=file:$T/auth" | cmp - "$T/device.pem"
openssl x509 -in 'tpm2:nv=0x1500011?pin-value=sesame' | cmp - "$T/device.pem"
openssl storeutl -passin pass:sesame -certs 'tpm2:nv=0x1500011?pass' > "$T/out"
expect_text "$T/out" 'Total found: 1'
lockout_is 0
fails TPM_RC_AUTH_FAIL "tpm2:nv=0x1500011?pin-source=file:$T/wrong"
lockout_is 1
fails 'the NV index needs an auth value' tpm2:nv=0x1500011
lockout_is 2
tpm_tool tpm2_dictionarylockout -c

# --- a policy

tpm_tool tpm2_startauthsession -S "$T/session"
tpm_tool tpm2_policypcr -S "$T/session" -l sha256:16 -L "$T/pcr.policy"
tpm_tool tpm2_flushcontext "$T/session"
store 0x1500013 "$T/device.der" 'ownerwrite|policyread' -L "$T/pcr.policy"
openssl x509 -in 'tpm2:nv=0x1500013?policy=pcr' | cmp - "$T/device.pem"
fails '?policy=NAME' tpm2:nv=0x1500013
fails 'no policy of that name' 'tpm2:nv=0x1500013?policy=none'

# --- what is no certificate, and why

fails 'nothing was written' tpm2:nv=0x1500010?pin-value=x
fails 'no such NV index' tpm2:nv=0x15000ff
fails 'no X.509 certificate' tpm2:nv=0x1500012
expect_text "$T/out" 'name another NV index'
head -c 40 /dev/zero > "$T/zeros"
store 0x1500020 "$T/zeros" "$OPEN"
fails "hwid import 'tpm2:nv=0x1500020' FILE --force" tpm2:nv=0x1500020
gzip -c "$T/device.der" > "$T/device.gz"
store 0x1500014 "$T/device.gz" "$OPEN"
fails 'gunzip' tpm2:nv=0x1500014
head -c 200 "$T/device.der" > "$T/cut.der"
store 0x1500015 "$T/cut.der" "$OPEN"
fails 'cut off' tpm2:nv=0x1500015
tpm_tool tpm2_nvdefine 0x1500016 -C o -a 'ownerwrite|ownerread|nt=counter' -s 8
fails 'NV counter' tpm2:nv=0x1500016

# --- endorsement keys: what swtpm_setup's authority certified, and what tpm2-tools make

for kind in rsa:0x1c00002:0x81010001 ecc:0x1c00016:0x81010016; do
    IFS=: read -r name index handle <<< "$kind"
    openssl x509 -in "tpm2:ek=$name" -out "$T/$name.pem"
    plain_openssl verify -partial_chain -CAfile "$T/tpm-ca/issuercert.pem" "$T/$name.pem" > "$T/out"
    tpm_tool tpm2_nvread -o "$T/$name.der" "$index"
    plain_openssl x509 -inform DER -in "$T/$name.der" | cmp - "$T/$name.pem"
    openssl pkey -pubin -in "tpm2:ek=$name" -out "$T/$name.pub"
    tpm_tool tpm2_readpublic -c "$handle" -f pem -o "$T/$name.wanted"
    cmp "$T/$name.pub" "$T/$name.wanted"
    expect_failure openssl pkey -noout -in "tpm2:ek=$name"
    expect_text "$T/out" 'the private half of an endorsement key is not served'
    tpm_tool tpm2_evictcontrol -C o -c "$handle"
    openssl pkey -pubin -in "tpm2:ek=$name" | cmp - "$T/$name.wanted" # made anew
done
tpm_tool tpm2_createek -G ecc -c "$T/ek.ctx" -u "$T/p256.wanted" -f pem
openssl pkey -pubin -in tpm2:ek=L-2 | cmp - "$T/p256.wanted"
fails "tpm2:ek=L-2: the TPM's maker has stored no certificate of this endorsement key (0x1c0000a)" \
    tpm2:ek=L-2
fails 'no such endorsement key' tpm2:ek=dsa
# What is no certificate hides neither the key nor another certificate.
tpm_tool tpm2_nvundefine -C p 0x1c00002
fails '(0x1c00002, 0x1c00012, 0x1c0001c, 0x1c0001e)' tpm2:ek=rsa
head -c 20 /dev/urandom > "$T/noise"
store 0x1c00002 "$T/noise" "$OPEN"
for ek in rsa L-1; do
    openssl pkey -pubin -in tpm2:ek=$ek | cmp - "$T/rsa.wanted"
    fails 'this is the address of the EK certificate, and' tpm2:ek=$ek
    expect_text "$T/out" 0x1c00002
done
store 0x1c00012 "$T/rsa.der" "$OPEN"
openssl x509 -in tpm2:ek=rsa | cmp - "$T/rsa.pem"
openssl pkey -pubin -in tpm2:ek=L-1 | cmp - "$T/rsa.wanted"
tpm_tool tpm2_getcap handles-transient
[ ! -s "$T/tpm.out" ] || fail "left: $(cat "$T/tpm.out")"
