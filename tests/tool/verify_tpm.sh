#!/bin/bash
# hwid verify on TPM keys: at handles and in files, fixed to the TPM and not, and what a TPM gives out.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/verify.bash
. "$HWID_TESTS_DIR/tool/verify.bash"
HWID_WORLD=tpm

MADE='sensitivedataorigin|userwithauth|noda'
FIXED="fixedtpm|fixedparent|$MADE"
place() { # HANDLE PARENT ALGORITHM ATTRIBUTES [OPTION...]: a persistent key of that kind
    local handle=$1 parent=$2 algorithm=$3 attributes=$4
    shift 4
    tpm_tool tpm2_create -C "$parent" -G "$algorithm" -a "$attributes" -u "$T/new.pub" -r "$T/new.priv" \
        "$@"
    tpm_tool tpm2_load -C "$parent" -u "$T/new.pub" -r "$T/new.priv" -c "$T/new.ctx"
    tpm_tool tpm2_evictcontrol -C o -c "$T/new.ctx" "$handle"
}
nothing_left() { # sessions or loaded objects
    local kind
    for kind in handles-transient handles-loaded-session; do
        tpm_tool tpm2_getcap $kind
        [ ! -s "$T/tpm.out" ] || fail "$kind: $(cat "$T/tpm.out")"
    done
}

make_token chip ec:P-256,label=ec rsa:2048,label=rsa
make_ca ca
make_conf "$T/openssl.cnf" default-first chip 'keys.device=pkcs11:token=chip;object=ec'
# Keys without an auth value are for another one.
sed '/^pin-source/d' "$T/openssl.cnf" > "$T/no-pin.cnf"
export OPENSSL_CONF=$T/openssl.cnf
openssl req -new -key hwid://device -subj /CN=device -out "$T/device.csr"
issue_cert ca device client "$T/device.csr"

# --- fixed to the TPM, which is a program

verdict software-token 0 hwid://device --cert "$T/device.pem"
for attribute in fixedTPM fixedParent sensitiveDataOrigin; do found $attribute true good; done
is '[c["asked"] for c in d["checks"] if c["group"] == "attempts"]' \
    "['TPM2_ReadPublic', 'TPM2_Duplicate in clear', 'TPM2_Duplicate to a new parent']"
found 'TPM2_Duplicate in clear' TPM_RC_POLICY_FAIL good
found 'TPM2_Duplicate to a new parent' TPM_RC_POLICY_FAIL good
is '[c["finding"] for c in d["checks"] if c["group"] == "certificate"]' "['good', 'good', 'good']"
is 'd["device"]["kind"], d["device"]["manufacturer"], "SW TPM" in d["device"]["software"]' \
    "('tpm2', 'IBM', True)"
[ "$(calls 14b)" -ge 2 ] || fail "TPM2_Duplicate was sent $(calls 14b) times"
tpm_tool tpm2_readpublic -c 0x81000002 -n "$T/name"
name=$(od -An -v -tx1 "$T/name" | tr -d ' \n')
is "'$name' in $(check TPM2_ReadPublic)[\"meaning\"]" True
plain_openssl x509 -in "$T/device.pem" -noout -pubkey > "$T/device.pub"
json 'd["signature"]["message"]' | head -c -1 > "$T/message"
json 'd["signature"]["value"]' | base64 -d > "$T/signature"
plain_openssl dgst -sha256 -verify "$T/device.pub" -signature "$T/signature" "$T/message" > "$T/text"
expect_exit 0 hwid verify tpm2:handle=0x81000003
expect_text "$T/out" 'verdict software-token'
expect_text "$T/out" 'RSA 2048'
verdict software-token 1 tpm2:handle=0x81000003 --require-hardware
nothing_left
refused 1 'the auth value is wrong' hwid verify 'tpm2:handle=0x81000002?pin-value=wrong'

# --- in a file

export OPENSSL_CONF=$T/no-pin.cnf
hwid generate tpm2: --type ec:P-256 --out "$T/key.pem" > "$T/text"
verdict software-token 0 "$T/key.pem"
found fixedTPM true good
is 'd["key"]["uri"]' "tpm2:file=$T/key.pem"
verdict software-token 0 "tpm2:file=$T/key.pem"

# --- keys that can leave

tpm_tool tpm2_startauthsession -S "$T/session"
tpm_tool tpm2_policycommandcode -S "$T/session" -L "$T/policy" TPM2_CC_Duplicate
tpm_tool tpm2_flushcontext "$T/session"
place 0x81000010 0x81000001 ecc256 "$MADE|sign" -L "$T/policy"
verdict can-leave 1 tpm2:handle=0x81000010
found fixedTPM false bad
found sensitiveDataOrigin true good
found 'TPM2_Duplicate in clear' 'not tried' note
found 'TPM2_Duplicate to a new parent' TPM_RC_SUCCESS bad
expect_exit 1 hwid verify tpm2:handle=0x81000010
expect_text "$T/out" 'came out, and was wiped at once'
nothing_left
# It is not shown to who listens on the way to the TPM.
sed 's/^tcti = /tcti = pcap:/' "$T/no-pin.cnf" > "$T/captured.cnf"
OPENSSL_CONF=$T/captured.cnf TCTI_PCAP_FILE=$T/bus verdict can-leave 1 tpm2:handle=0x81000010
tpm_tool tpm2_startauthsession --policy-session -S "$T/session"
tpm_tool tpm2_policycommandcode -S "$T/session" TPM2_CC_Duplicate
tpm_tool tpm2_duplicate -C null -c 0x81000010 -G null -p "session:$T/session" -r "$T/private" \
    -s "$T/seed"
tpm_tool tpm2_flushcontext "$T/session"
tpm_tool tpm2_readpublic -c 0x81000010 -f der -o "$T/public"
hex() { tail -c 32 "$1" | od -An -v -tx1 | tr -d ' \n'; } # of the last number in a file
od -An -v -tx1 "$T/bus" | tr -d ' \n' > "$T/bus.hex"
expect_text "$T/bus.hex" "$(hex "$T/public")"
! grep -q "$(hex "$T/private")" "$T/bus.hex" || fail "hwid verify showed the key on the bus"
# Encrypted only.
place 0x81000011 0x81000001 rsa2048 "$MADE|sign|encryptedduplication" -L "$T/policy"
verdict can-leave 1 tpm2:handle=0x81000011
found encryptedDuplication true note
found 'TPM2_Duplicate in clear' TPM_RC_SYMMETRIC good
found 'TPM2_Duplicate to a new parent' TPM_RC_SUCCESS bad
# Whoever meets another policy may: the TPM refuses us, and the attributes say it.
tpm_tool tpm2_startauthsession -S "$T/session"
tpm_tool tpm2_policycommandcode -S "$T/session" TPM2_CC_Duplicate
tpm_tool tpm2_policypassword -S "$T/session" -L "$T/stricter"
tpm_tool tpm2_flushcontext "$T/session"
place 0x81000012 0x81000001 ecc256 "$MADE|sign" -L "$T/stricter"
verdict can-leave 1 tpm2:handle=0x81000012
found 'TPM2_Duplicate in clear' 'not tried' note
found 'TPM2_Duplicate to a new parent' TPM_RC_POLICY_FAIL good
is "$(check 'TPM2_Duplicate to a new parent')[\"meaning\"]" \
    'refused: its policy asks for more than was offered'
# Not alone, but with its parent.
tpm_tool tpm2_create -C 0x81000001 -G ecc -a "$MADE|restricted|decrypt" -L "$T/policy" \
    -u "$T/parent.pub" -r "$T/parent.priv"
tpm_tool tpm2_load -C 0x81000001 -u "$T/parent.pub" -r "$T/parent.priv" -c "$T/parent.ctx"
place 0x81000013 "$T/parent.ctx" ecc256 "$MADE|sign|fixedparent" -L "$T/policy"
verdict can-leave 1 tpm2:handle=0x81000013
found fixedTPM false bad
found fixedParent true good
found 'TPM2_Duplicate in clear' TPM_RC_ATTRIBUTES good
# Brought in from outside.
software_key "$T/soft.key" ec:P-256
tpm_tool tpm2_import -C 0x81000001 -G ecc -i "$T/soft.key" -u "$T/in.pub" -r "$T/in.priv"
tpm_tool tpm2_load -C 0x81000001 -u "$T/in.pub" -r "$T/in.priv" -c "$T/in.ctx"
tpm_tool tpm2_evictcontrol -C o -c "$T/in.ctx" 0x81000014
verdict can-leave 1 tpm2:handle=0x81000014
found sensitiveDataOrigin false warning

# A policy that would allow it does not help where the attributes forbid it.
place 0x81000015 0x81000001 ecc256 "$FIXED|sign" -L "$T/policy"
verdict software-token 0 tpm2:handle=0x81000015
found 'TPM2_Duplicate in clear' TPM_RC_ATTRIBUTES good
found 'TPM2_Duplicate to a new parent' TPM_RC_ATTRIBUTES good

# --- keys for other uses than signing

place 0x81000016 0x81000001 ecc256:ecdsa-sha256:null "$FIXED|sign|restricted"
verdict software-token 0 tpm2:handle=0x81000016
found restricted true note
is '[c["answer"] for c in d["checks"] if "fresh message" in c["asked"]]' "['right']"
place 0x81000017 0x81000001 ecc256 "$FIXED|decrypt"
verdict software-token 0 tpm2:handle=0x81000017
found 'agreement on a fresh secret' right good
place 0x81000018 0x81000001 rsa2048:oaep "$FIXED|decrypt"
verdict software-token 0 tpm2:handle=0x81000018
is '[c["answer"] for c in d["checks"] if c["group"] == "certificate"]' "['right']"
nothing_left

# --- no TPM

sed 's/^tcti = .*/tcti = swtpm:port=1/' "$T/no-pin.cnf" > "$T/absent.cnf"
OPENSSL_CONF=$T/absent.cnf refused 3 'swtpm:port=1' hwid verify tpm2:handle=0x81000002
