#!/bin/bash
# hwid import, export, list and delete: certificates in a TPM's NV memory.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
need tpm2_nvread
deliver_tpm
start_tpm
make_parent 0x81000001
make_tpm_key 0x81000002 ec:P-256
make_tpm_key 0x81000003 rsa:2048
make_ca ca
# shellcheck disable=SC2034  # of make_conf
TPM_OBJECTS=(ec=0x81000002 rsa=0x81000003 named=0x1810001)
HWID_WORLD=tpm make_conf "$T/tpm.cnf" default-first tpm-token \
    'keys.ec=pkcs11:token=tpm-token;object=ec' 'keys.rsa=tpm2:handle=0x81000003'
sed -i '/^pin-source = /d' "$T/tpm.cnf"
export OPENSSL_CONF=$T/tpm.cnf
for key in ec rsa; do
    openssl req -new -key "hwid:$key" -subj "/O=Example/CN=$key" -out "$T/$key.csr"
    issue_cert ca "$key" client "$T/$key.csr"
    cp "$T/$key.pem" "$T/$key-old.pem"
    plain_openssl x509 -in "$T/$key.pem" -outform DER -out "$T/$key.der"
    issue_cert ca "$key" client "$T/$key.csr"
done

indexes() { # that are there, in one line
    tpm_tool tpm2_getcap handles-nv-index
    tr -d ' \n' < "$T/tpm.out"
}
in_nv() { # INDEX: as tpm2-tools read it, as PEM
    tpm_tool tpm2_nvread -o "$T/nv.der" "$1"
    plain_openssl x509 -inform DER -in "$T/nv.der"
}
failures() { # NUMBER: that count against the lockout
    tpm_tool tpm2_getcap properties-variable
    expect_text "$T/tpm.out" "TPM2_PT_LOCKOUT_COUNTER: 0x$1"
}
DELIVERED=$(indexes)

# --- beside its key: at a free index, found again by the key's name

hwid import hwid:ec "$T/ec.pem" > "$T/out" 2> "$T/err"
expect_text "$T/out" 'Certificate: stored'
expect_text "$T/out" 'tpm2:nv=0x1800001'
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
in_nv 0x1800001 | cmp - "$T/ec.pem"
tpm_tool tpm2_nvreadpublic 0x1800001
expect_text "$T/tpm.out" 'friendly: ownerwrite|ownerread|authread|no_da|written'
hwid export hwid:ec | cmp - "$T/ec.pem"
hwid export tpm2:nv=0x1800001 | cmp - "$T/ec.pem"
hwid export tpm2:handle=0x81000002 --der | cmp - "$T/nv.der"
hwid import hwid:rsa "$T/rsa.pem" --json > "$T/out"
[ "$(json 'd["result"], d["uri"], d["replaced"]')" = "('stored', 'tpm2:nv=0x1800002', [])" ] ||
    fail "$(cat "$T/out")"
hwid export hwid:rsa | cmp - "$T/rsa.pem"
refused 1 'is for another key' hwid import hwid:rsa "$T/ec.pem"
# A name that means an NV index names no key: it is said how to write there.
refused 1 'hwid import tpm2:nv=0x1810001 FILE' hwid import 'pkcs11:token=tpm-token;object=named' "$T/ec.pem"

# Again: it is there. Another one: it stays, unless it is forced, and then has the old one's place.
hwid import hwid:ec "$T/ec.pem" > "$T/out"
expect_text "$T/out" 'Certificate: was there'
refused 1 '--force' hwid import hwid:ec "$T/ec-old.pem"
in_nv 0x1800001 | cmp - "$T/ec.pem"
hwid import hwid:ec "$T/ec-old.pem" --force --json > "$T/out"
[ "$(json 'd["result"], d["uri"], d["replaced"][0]["subject"]')" = \
    "('replaced', 'tpm2:nv=0x1800001', 'CN=ec,O=Example')" ] || fail "$(cat "$T/out")"
in_nv 0x1800001 | cmp - "$T/ec-old.pem"
[[ $(indexes) != *-0x1800003* ]] || fail "a copy is left: $(indexes)"
# ... and all others of the key, wherever in the owner's range
cp "$T/ec.pem" "$T/ec-second.pem"
issue_cert ca ec client "$T/ec.csr"
tpm_tool tpm2_nvdefine 0x1810020 -C o -a 'ownerwrite|ownerread' -s "$(stat -c %s "$T/ec.der")"
tpm_tool tpm2_nvwrite -C o -i "$T/ec.der" 0x1810020
hwid import hwid:ec "$T/ec.pem" --force --json > "$T/out"
[ "$(json 'd["uri"], len(d["replaced"])')" = "('tpm2:nv=0x1800001', 2)" ] || fail "$(cat "$T/out")"
in_nv 0x1800001 | cmp - "$T/ec.pem"
refused 1 'no such NV index' hwid export tpm2:nv=0x1810020
cp "$T/ec-second.pem" "$T/ec.pem"

# --- at an index, for whatever key

hwid import tpm2:nv=0x01810000 "$T/ca.pem" > "$T/out"
expect_text "$T/out" 'tpm2:nv=0x1810000'
in_nv 0x1810000 | cmp - "$T/ca.pem"
refused 1 'another certificate is there already' hwid import tpm2:nv=0x1810000 "$T/ec.pem"
hwid import tpm2:nv=0x1810000 "$T/ec.pem" --force > "$T/out"
expect_text "$T/out" 'replaced'
in_nv 0x1810000 | cmp - "$T/ec.pem"
# ... where something else is, or nothing yet
tpm_tool tpm2_nvdefine 0x1810001 -C o -a 'ownerwrite|ownerread' -s 20
refused 1 'NV data of 20 bytes is there already' hwid import tpm2:nv=0x1810001 "$T/ec.pem"
hwid import tpm2:nv=0x1810001 "$T/ec.pem" --force > "$T/out"
in_nv 0x1810001 | cmp - "$T/ec.pem"
# ... what the maker put there stays
refused 3 'made by the platform' hwid import tpm2:nv=0x1c00002 "$T/ec.pem" --force
refused 3 'made by the platform' hwid delete tpm2:nv=0x1c00002 --yes
# ... larger than one command writes; larger than any index
plain_openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/large.key" -out "$T/large.pem" \
    -subj /CN=large -addext "nsComment=$(head -c 1000 /dev/zero | tr '\0' x)" 2> "$T/err"
hwid import tpm2:nv=0x1810002 "$T/large.pem" > "$T/out"
hwid export tpm2:nv=0x1810002 | cmp - "$T/large.pem"
plain_openssl req -x509 -key "$T/large.key" -out "$T/huge.pem" -subj /CN=huge \
    -addext "nsComment=$(head -c 2000 /dev/zero | tr '\0' x)"
refused 3 'leave the certificate in a file' hwid import tpm2:nv=0x1810003 "$T/huge.pem"
refused 1 'no such NV index' hwid export tpm2:nv=0x1810003
# ... what was there comes back
refused 3 'leave the certificate in a file' hwid import tpm2:nv=0x1810000 "$T/huge.pem" --force
in_nv 0x1810000 | cmp - "$T/ec.pem"

# ... and what could not be put back: what nobody reads here, or writes
tpm_tool tpm2_nvdefine 0x1810010 -C o -a 'ownerwrite|ownerread|nt=counter'
tpm_tool tpm2_nvincrement -C o 0x1810010
refused 3 'hwid delete' hwid import tpm2:nv=0x1810010 "$T/ec.pem" --force
expect_text "$T/err" 'NV counter'
hwid delete tpm2:nv=0x1810010 --other --yes > "$T/out"
# ... an address that TCG has given a meaning, whoever wrote there
tpm_tool tpm2_nvdefine 0x1c0000a -C o -a 'ownerwrite|ownerread' -s 20
refused 3 'EK certificate EC P-256' hwid import tpm2:nv=0x1c0000a "$T/ec.pem" --force
refused 3 'tpm2_nvundefine' hwid delete tpm2:nv=0x1c0000a --other --yes
tpm_tool tpm2_nvundefine -C o 0x1c0000a
refused 3 'TCG keeps this address for certificates' hwid import tpm2:nv=0x1c00050 "$T/ec.pem"
refused 3 'TCG keeps this address for certificates' hwid import tpm2:nv=0x1c0000a "$T/ec.pem"
hwid import tpm2:nv=0x1c00050 "$T/ec.pem" --force > "$T/out"
in_nv 0x1c00050 | cmp - "$T/ec.pem"
tpm_tool tpm2_nvundefine -C o 0x1c00050
# A lock is not taken away, and what can be locked stays so.
while read -r lock how_long; do
    tpm_tool tpm2_nvdefine 0x1810018 -C o -a "ownerwrite|ownerread|$lock" \
        -s "$(stat -c %s "$T/ec.der")"
    tpm_tool tpm2_nvwrite -C o -i "$T/ec.der" 0x1810018
    hwid import tpm2:nv=0x1810018 "$T/ec.pem" --force > "$T/out"
    in_nv 0x1810018 | cmp - "$T/ec.pem"
    tpm_tool tpm2_nvwritelock -C o 0x1810018
    refused 3 "locked against writing $how_long" \
        hwid import tpm2:nv=0x1810018 "$T/ec-old.pem" --force
    tpm_tool tpm2_nvreadpublic 0x1810018
    expect_text "$T/tpm.out" writelocked
    in_nv 0x1810018 | cmp - "$T/ec.pem"
    tpm_tool tpm2_nvundefine -C o 0x1810018
done << END
writedefine for good
write_stclear until the TPM is started anew
END
# ... what would leave it open to everybody, though it was not meant to be
refused 2 'leave ?policy= out' hwid import 'tpm2:nv=0x1810011?policy=pcr' "$T/ec.pem"
refused 2 '?pin-source=' hwid import 'tpm2:nv=0x1810011?pass' "$T/ec.pem"
refused 1 'no such NV index' hwid export tpm2:nv=0x1810011

# --- with an auth value of its own, and with the owner's

(umask 077 && echo sesame > "$T/auth" && echo of-the-owner > "$T/owner" && echo no > "$T/wrong")
hwid import tpm2:nv=0x1810004 "$T/ca.pem" --pin-source "file:$T/auth" > "$T/out"
hwid export tpm2:nv=0x1810004 --pin-source "file:$T/auth" | cmp - "$T/ca.pem"
tpm_tool tpm2_nvread -P sesame -o "$T/nv.der" 0x1810004
cmp <(plain_openssl x509 -inform DER -in "$T/nv.der") "$T/ca.pem"
refused 1 TPM_RC_AUTH_FAIL hwid export tpm2:nv=0x1810004 --pin-source "file:$T/wrong"
tpm_tool tpm2_dictionarylockout -c
# ... which is named to replace it, and a wrong one is tried once
refused 3 'name it with ?pin-source=' hwid import tpm2:nv=0x1810004 "$T/ec.pem" --force
refused 1 'is there already; replace it with --force' \
    hwid import tpm2:nv=0x1810004 "$T/ec.pem" --pin-source "file:$T/auth"
hwid import "tpm2:nv=0x1810004?pin-source=file:$T/auth" "$T/ec.pem" --force --json > "$T/out"
[ "$(json 'd["result"], len(d["replaced"])')" = "('replaced', 1)" ] || fail "$(cat "$T/out")"
hwid export tpm2:nv=0x1810004 --pin-source "file:$T/auth" | cmp - "$T/ec.pem"
failures 0
refused 1 "hwid delete 'tpm2:nv=0x1810004'" \
    hwid import tpm2:nv=0x1810004 "$T/ca.pem" --force --pin-source "file:$T/wrong"
failures 1
tpm_tool tpm2_dictionarylockout -c
# ... and not where nothing is to be replaced
refused 1 'is there already; replace it with --force' \
    hwid import tpm2:nv=0x1810004 "$T/ca.pem" --pin-source "file:$T/wrong"
failures 0
hwid export tpm2:nv=0x1810004 --pin-source "file:$T/auth" | cmp - "$T/ec.pem"
hwid import tpm2:nv=0x1810004 "$T/ca.pem" --force --pin-source "file:$T/auth" > "$T/out"
# ... also where only who has it may write
tpm_tool tpm2_nvdefine 0x1810014 -C o -a 'authread|authwrite' -p sesame \
    -s "$(stat -c %s "$T/ec.der")"
tpm_tool tpm2_nvwrite -P sesame -i "$T/ec.der" 0x1810014
hwid import tpm2:nv=0x1810014 "$T/ca.pem" --force --pin-source "file:$T/auth" > "$T/out"
expect_text "$T/out" 'Certificate: replaced'
tpm_tool tpm2_nvread -P sesame -o "$T/nv.der" 0x1810014
cmp <(plain_openssl x509 -inform DER -in "$T/nv.der") "$T/ca.pem"
hwid delete tpm2:nv=0x1810014 --yes --pin-source "file:$T/auth" > "$T/out"
failures 0
tpm_tool tpm2_changeauth -c o of-the-owner
refused 3 'owner hierarchy has an auth value' hwid import tpm2:nv=0x1810005 "$T/ca.pem"
refused 1 TPM_RC_BAD_AUTH hwid import tpm2:nv=0x1810005 "$T/ca.pem" \
    --owner-auth-source "file:$T/wrong"
hwid import tpm2:nv=0x1810005 "$T/ca.pem" --owner-auth-source "file:$T/owner" > "$T/out"
hwid export tpm2:nv=0x1810005 | cmp - "$T/ca.pem"
refused 3 'owner hierarchy has an auth value' hwid delete tpm2:nv=0x1810005 --yes
hwid import tpm2:nv=0x1810006 "$T/ca.pem" --owner-auth-source "file:$T/owner" > "$T/out"
hwid delete "tpm2:nv=0x1810006?parent-pin-source=file:$T/owner" --yes > "$T/out"
hwid delete tpm2:nv=0x1810005 --yes --owner-auth-source "file:$T/owner" > "$T/out"
expect_text "$T/out" 'deleted certificate 0x1810005  tpm2:nv=0x1810005'
# ... which also opens what only the owner reads
tpm_tool tpm2_nvdefine 0x1810008 -C o -P of-the-owner -a 'ownerwrite|ownerread' \
    -s "$(stat -c %s "$T/rsa.der")"
tpm_tool tpm2_nvwrite -C o -P of-the-owner -i "$T/rsa.der" 0x1810008
plain_openssl x509 -inform DER -in "$T/rsa.der" -out "$T/rsa-same.pem"
hwid delete tpm2:nv=0x1800002 --yes --owner-auth-source "file:$T/owner" > "$T/out"
hwid import hwid:rsa "$T/rsa-same.pem" --owner-auth-source "file:$T/owner" > "$T/out"
expect_text "$T/out" 'Certificate: was there'
hwid delete tpm2:nv=0x1810008 --yes --owner-auth-source "file:$T/owner" > "$T/out"
hwid import hwid:rsa "$T/rsa.pem" --owner-auth-source "file:$T/owner" > "$T/out"
expect_text "$T/out" 'tpm2:nv=0x1800002'
tpm_tool tpm2_changeauth -c o -p of-the-owner

# ... which is not tried for what it was not named for
tpm_tool tpm2_nvdefine 0x1810012 -C o -a 'ownerwrite|authread' -s 20 -p unknown
head -c 20 "$T/ca.pem" > "$T/twenty"
tpm_tool tpm2_nvwrite -C o -i "$T/twenty" 0x1810012
sed "/^type = tpm2/a pin-source = file:$T/auth" "$T/tpm.cnf" > "$T/section.cnf"
OPENSSL_CONF=$T/section.cnf refused 3 'could not be put back' \
    hwid import tpm2:nv=0x1810012 "$T/ca.pem" --force
failures 0
hwid delete tpm2:nv=0x1810012 --other --yes > "$T/out"
failures 0

# --- what is listed

hwid list tpm2: > "$T/out"
for text in 'certificate 0x1c00002' 'EK certificate RSA 2048' 'EK certificate EC P-384' \
    'certificate 0x1810002' 'tpm2:nv=0x1800001'; do expect_text "$T/out" "$text"; done
hwid list tpm2:ek=rsa > "$T/out"
expect_text "$T/out" 'public key EK RSA 2048'
expect_text "$T/out" 'tpm2:nv=0x1c00002'
hwid list tpm2:nv=0x1c00016 --json > "$T/out"
[ "$(json 'd["objects"][0]["class"], d["objects"][0]["traits"]')" = \
    "('certificate', 'EK certificate EC P-384')" ] || fail "$(cat "$T/out")"
head -c 40 /dev/urandom > "$T/noise"
tpm_tool tpm2_nvdefine 0x1810006 -C o -a 'ownerwrite|ownerread' -s 40
tpm_tool tpm2_nvwrite -C o -i "$T/noise" 0x1810006
hwid list tpm2: > "$T/out"
expect_text "$T/out" 'NV data of 40 bytes 0x1810006'
forget_calls
hwid export tpm2:ek=ecc > "$T/ek.pem"
refused 1 "the TPM's maker has stored no certificate" hwid export tpm2:ek=H-4
if grep 'hwid import' "$T/err"; then fail 'nobody puts one there'; fi
[ "$(tpm_commands 131)" = 0 ] || fail 'an endorsement key is made to read its certificate'
[ "$(tpm_commands 173)" = 0 ] || fail 'persistent keys are looked at to read a certificate'
plain_openssl verify -partial_chain -CAfile "$T/tpm-ca/issuercert.pem" "$T/ek.pem" > "$T/out"
hwid export --public tpm2:ek=ecc | cmp - <(plain_openssl x509 -in "$T/ek.pem" -noout -pubkey)

# What the maker put there is nothing that anybody here renews.
expect_exit 0,1 hwid status
expect_text "$T/out" 'tpm2:nv=0x1800001'
if grep 0x1c00002 "$T/out"; then fail 'an EK certificate'; fi

# --- what goes

refused 2 'answer yes, or give --yes' hwid delete tpm2:nv=0x1800001
refused 1 'hwid delete --other' hwid delete tpm2:nv=0x1810006 --yes
hwid delete tpm2:nv=0x1810006 --other --yes > "$T/out"
# (of the EC key there are three, one of them named)
hwid delete tpm2:nv=0x1810000 --yes > "$T/out"
hwid delete 'pkcs11:token=tpm-token;object=named;type=cert' --yes > "$T/out"
expect_text "$T/out" 'deleted certificate named'
hwid delete 'pkcs11:token=tpm-token;object=ec;type=cert' --yes > "$T/out"
expect_text "$T/out" 'deleted certificate 0x1800001  tpm2:nv=0x1800001'
hwid list hwid:ec > "$T/out"
hwid export --public hwid:ec > "$T/pub" # the key itself is still there
# ... and never what else is in an index with the key's certificate
plain_openssl x509 -in "$T/rsa-old.pem" -outform DER -out "$T/chain.der"
plain_openssl x509 -in "$T/ca.pem" -outform DER >> "$T/chain.der"
tpm_tool tpm2_nvdefine 0x1810013 -C o -a 'ownerwrite|ownerread' -s "$(stat -c %s "$T/chain.der")"
tpm_tool tpm2_nvwrite -C o -i "$T/chain.der" 0x1810013
refused 3 tpm2:nv=0x1810013 hwid delete tpm2:handle=0x81000003 --certificate --yes
refused 3 tpm2:nv=0x1810013 hwid delete 'pkcs11:token=tpm-token;object=rsa;type=cert' --yes
cp "$T/rsa.pem" "$T/rsa-stored.pem"
issue_cert ca rsa client "$T/rsa.csr"
refused 3 tpm2:nv=0x1810013 hwid import hwid:rsa "$T/rsa.pem" --force
hwid export tpm2:nv=0x1800002 | cmp - "$T/rsa-stored.pem"
hwid delete tpm2:nv=0x1810013 --yes > "$T/out"
[ "$(grep -c '^deleted certificate' "$T/out")" = 2 ] || fail "$(cat "$T/out")"
# ... or at an address that is not the owner's
tpm_tool tpm2_nvdefine 0x1500001 -C o -a 'ownerwrite|ownerread' -s "$(stat -c %s "$T/rsa.der")"
tpm_tool tpm2_nvwrite -C o -i "$T/rsa.der" 0x1500001
# At a terminal it is shown what goes along.
if command -v script > "$T/log"; then
    script -qec "'$HWID_TOOLS_DIR/hwid' delete tpm2:handle=0x81000003 --certificate" /dev/null \
        <<< no > "$T/out" || true
    expect_text "$T/out" 'destroy  certificate 0x1800002'
fi
hwid delete tpm2:handle=0x81000003 --certificate --yes > "$T/out"
if grep 0x1500001 "$T/out"; then fail 'not the owner'"'"'s'; fi
hwid delete tpm2:nv=0x1500001 --yes > "$T/log"
expect_text "$T/out" 'deleted private key 0x81000003'
expect_text "$T/out" 'deleted certificate 0x1800002'
hwid delete tpm2:nv=0x1810002 --yes > "$T/out"
hwid delete tpm2:nv=0x1810004 --yes --pin-source "file:$T/auth" > "$T/out"
[ "$(indexes)" = "$DELIVERED" ] || fail "left: $(indexes)"
refused 1 'there is no certificate' hwid export hwid:ec

# --- on the way: where the session is always there, nobody sees what is written

sent() { # FILE: whether the TPM was given a part of it that could be read, since forget_calls
    local found
    found=$(tail -c "+$((TPM_LOG_SEEN + 1))" "$T/tpm.log" | tr -d ' \n' |
        grep -ci "$(od -An -v -tx1 -j 100 -N 32 "$1" | tr -d ' \n')" || true)
    [ "$found" != 0 ]
}
cp "$T/tpm.cnf" "$T/hmac.cnf"
sed -i "/^type = tpm2/a session = hmac" "$T/hmac.cnf"
grep -q '^session = hmac' "$T/hmac.cnf"
plain_openssl x509 -in "$T/ec.pem" -outform DER -out "$T/nv-ec.der"
plain_openssl x509 -in "$T/ec-old.pem" -outform DER -out "$T/nv-old.der"
forget_calls
hwid import tpm2:nv=0x1810020 "$T/ec.pem" > "$T/out"
sent "$T/nv-ec.der" || fail 'the log does not show what the TPM is given'
forget_calls
OPENSSL_CONF=$T/hmac.cnf hwid import tpm2:nv=0x1810020 "$T/ec-old.pem" --force > "$T/out"
for file in nv-ec.der nv-old.der; do
    if sent "$T/$file"; then fail "$file is to be seen on the way"; fi
done
[ "$(tpm_commands 137)" != 0 ] || fail 'nothing was written'
in_nv 0x1810020 | cmp - "$T/ec-old.pem"
OPENSSL_CONF=$T/hmac.cnf hwid delete tpm2:nv=0x1810020 --yes > "$T/out"
[ "$(indexes)" = "$DELIVERED" ] || fail "left: $(indexes)"
