#!/bin/bash
# hwid delete: what was named goes, and nothing else; nothing goes by accident.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

objects() { # what is on the token, as "class label", sorted
    hwid list pkcs11:token=line --json > "$T/objects" || true
    json '", ".join(sorted(o["class"] + " " + o["label"] for o in d["objects"]))' "$T/objects"
}
stays() { # CODE TEXT COMMAND...: as refused, and the token holds what it held
    local before
    before=$(objects)
    refused "$@"
    [ "$(objects)" = "$before" ] || fail "gone: $before; left: $(objects)"
}
certificate_of() { # LABEL ID
    openssl req -new -key "pkcs11:token=line;object=$1" -subj "/CN=$1" -out "$T/$1.csr"
    issue_cert ca "$1" client "$T/$1.csr"
    add_certificate line "$1" "$2" "$T/$1.pem"
}

make_token line rsa:2048,label=pair,id=01 ec:P-256,label=whole,id=02 ec:P-256,label=twin,id=03 \
    ec:P-256,label=twin,id=04 ec:P-256,label=stays,id=05 ec:P-256,label=$'\e[2Jx',id=06
make_ca ca
make_conf "$T/openssl.cnf" default-first line 'keys.name=pkcs11:token=line;object=stays'
export OPENSSL_CONF=$T/openssl.cnf
certificate_of pair 01
certificate_of whole 02
certificate_of stays 05

# --- what is not meant, or not sure

stays 2 'answer yes, or give --yes' hwid delete 'pkcs11:token=line;object=pair'
stays 2 'answer yes, or give --yes' hwid delete 'pkcs11:token=line;object=pair' --json
stays 1 'id=' hwid delete 'pkcs11:token=line;object=twin' --yes
stays 1 'nothing matches' hwid delete 'pkcs11:token=line;object=no-such' --yes
stays 1 'nothing matches' hwid delete 'pkcs11:token=line;object=twin;type=cert' --yes
stays 2 'no object is named' hwid delete pkcs11:token=line --yes
stays 2 'no object is named' hwid delete 'pkcs11:token=line;type=private' --yes
stays 2 'no object is named' hwid delete 'pkcs11:token=line;object=' --yes
stays 3 'no token matches' hwid delete 'pkcs11:token=no-such;object=pair' --yes
stays 1 'not configured' hwid delete hwid://no-such --yes
stays 2 'a key URI begins with' hwid delete "$T/pair.pem" --yes
stays 2 'expects URI' hwid delete --yes
stays 2 'unrecognised option' hwid delete 'pkcs11:token=line;object=pair' --ye
(umask 077 && echo 9999 > "$T/wrong")
stays 1 CKR_PIN_INCORRECT hwid delete 'pkcs11:token=line;object=pair' --yes \
    --pin-source "file:$T/wrong"

# At a terminal: only yes is yes.
at_terminal() { # ANSWER: what delete of the key by its name says; its exit code
    script -qec "'$HWID_TOOLS_DIR/hwid' delete 'pkcs11:token=line;object=twin;id=%03'" /dev/null \
        <<< "$1" > "$T/out" 2>&1
}
if command -v script > /dev/null; then
    before=$(objects)
    code=0
    at_terminal no || code=$?
    [ $code = 1 ] || fail "exit $code: $(cat "$T/out")"
    expect_text "$T/out" 'destroy  private key twin  token line'
    expect_text "$T/out" 'destroy  public key twin  token line'
    expect_text "$T/out" 'for good? (yes or no)'
    expect_text "$T/out" 'nothing is deleted'
    [ "$(objects)" = "$before" ] || fail "left: $(objects)"
    at_terminal yes || fail "$(cat "$T/out")"
else
    echo 'skipped: the question at a terminal: script is not installed'
    hwid delete 'pkcs11:token=line;object=twin;id=%03' --yes > "$T/out"
fi
expect_text "$T/out" 'deleted private key twin'

# --- what is

expect_exit 0 hwid delete 'pkcs11:token=line;object=twin' --yes # one is left
expect_text "$T/out" 'deleted private key twin  pkcs11:token=line;object=twin;id=%04;type=private'
expect_text "$T/out" 'deleted public key twin  pkcs11:token=line;object=twin;id=%04;type=public'
expect_exit 0 hwid delete 'pkcs11:token=line;object=pair' --yes
[ "$(wc -l < "$T/out")" = 2 ] || fail "$(cat "$T/out")"
[[ "$(objects)" = *'certificate pair'* ]] || fail "the certificate is gone: $(objects)"
[[ "$(objects)" != *'key pair'* ]] || fail "left: $(objects)"
expect_exit 0 hwid delete 'pkcs11:token=line;object=pair;type=cert' --yes
expect_text "$T/out" 'deleted certificate pair'
[ "$(wc -l < "$T/out")" = 1 ] || fail "$(cat "$T/out")"
expect_exit 0 hwid delete 'pkcs11:token=line;object=whole' --certificate --yes --json
[ "$(json '[o["class"] for o in d["deleted"]]')" = "['private-key', 'public-key', 'certificate']" ] ||
    fail "$(cat "$T/out")"
expect_exit 0 hwid delete 'pkcs11:token=line;id=%06' --yes
expect_text "$T/out" 'deleted private key \x1b[2Jx'
# A certificate of a key that stays; a key by its name.
expect_exit 0 hwid delete 'pkcs11:token=line;object=stays;type=cert' --yes
[ "$(objects)" = 'private-key stays' ] || fail "$(objects)"
expect_exit 0 hwid delete hwid://name --yes
[ -z "$(objects 2> /dev/null)" ] || fail "left: $(objects)"

# Data only where it is said to be no key.
pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --token-label line --login --pin "$PIN" \
    --write-object "$T/plain.cnf" --type data --label note > "$T/text" 2>&1 || fail "$(cat "$T/text")"
stays 1 'nothing matches' hwid delete 'pkcs11:token=line;object=note' --yes
expect_exit 0 hwid delete 'pkcs11:token=line;object=note' --other --yes
expect_text "$T/out" 'deleted data note'

# And a key pair never where other objects are meant.
token_tool generate line "$PIN" ec:P-256,label=pair,id=09
stays 1 'nothing matches' hwid delete 'pkcs11:token=line;object=pair' --other --yes
expect_exit 0 hwid delete 'pkcs11:token=line;object=pair' --yes

# A default slot chooses among tokens where a key is opened or made; what goes for good, the URI alone.
make_token spare ec:P-256,label=only,id=0a
token_tool generate line "$PIN" ec:P-256,label=only,id=0a
hwid list --json > "$T/listed"
printf '%s\n' 'openssl_conf = init' '[init]' 'providers = all' '[all]' 'default = first' 'hwid = second' \
    '[first]' 'activate = 1' '[second]' "module = $HWID_MODULE_DIR/hwid.so" 'activate = 1' \
    "pkcs11-module-path = $HWID_SOFTHSM_MODULE" "pkcs11-module-token-pin = file:$T/pin" \
    "pkcs11-module-default-slot-id = $(json '[t["slot_id"] for t in d["tokens"] if t["label"] == "line"][0]' \
        "$T/listed")" > "$T/slot.cnf"
openssl pkey -in 'pkcs11:token=line;object=only;type=private' -pubout -out "$T/line.pub"
OPENSSL_CONF=$T/slot.cnf openssl pkey -in 'pkcs11:object=only;type=private' -pubout -out "$T/only.pub"
cmp "$T/line.pub" "$T/only.pub"
OPENSSL_CONF=$T/slot.cnf stays 3 '2 tokens match; name the one that is meant with token=' \
    hwid delete pkcs11:object=only --yes
OPENSSL_CONF=$T/slot.cnf expect_exit 0 hwid delete 'pkcs11:token=line;object=only' --yes
[ -z "$(objects 2> /dev/null)" ] || fail "left: $(objects)"

# A token that fails in between says what is gone already.
token_tool generate line "$PIN" rsa:2048,label=half,id=07
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/faults.cnf" default-first line
echo 'fail C_DestroyObject CKR_DEVICE_ERROR nth=2' > "$T/control"
HWID_TEST_CONTROL=$T/control OPENSSL_CONF=$T/faults.cnf refused 3 CKR_DEVICE_ERROR hwid delete \
    'pkcs11:token=line;object=half' --yes
expect_text "$T/err" 'already removed: pkcs11:token=line;object=half;id=%07;type=private'

# --- a TPM

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip rsa:2048,label=rsa ec:P-256,label=ec
make_tpm_key 0x81000009 ec:P-256
make_parent 0x81000005
make_conf "$T/openssl.cnf" default-first chip keys.ec=tpm2:handle=0x81000003
tpm_has() { # HANDLE
    tpm_tool tpm2_getcap handles-persistent
    grep -q "$1" "$T/tpm.out"
}
refused 2 'answer yes, or give --yes' hwid delete tpm2:handle=0x81000002
refused 3 'it is the configured' hwid delete tpm2:handle=0x81000001 --yes
refused 3 'it is the configured' hwid delete tpm2:handle=0x81000001 --other --yes
refused 1 'what is there is storage key EC' hwid delete tpm2:handle=0x81000005 --yes
refused 2 'no object is named' hwid delete tpm2: --yes
refused 2 'is not persistent' hwid delete tpm2:handle=0x80000000 --yes
refused 2 'delete the file' hwid delete "tpm2:file=$T/key.pem" --yes
refused 1 TPM_RC_HANDLE hwid delete tpm2:handle=0x81000077 --yes
for handle in 0x81000001 0x81000002 0x81000003 0x81000005 0x81000009; do
    tpm_has $handle || fail "$handle is gone: $(cat "$T/tpm.out")"
done
expect_exit 0 hwid delete tpm2:handle=0x81000009 --yes
expect_text "$T/out" 'deleted private key 0x81000009  tpm2:handle=0x81000009'
if tpm_has 0x81000009; then fail 'it is there still'; fi
expect_exit 0 hwid delete 'pkcs11:token=chip;object=rsa' --yes --json
[ "$(json 'd["deleted"][0]["class"], d["deleted"][0]["uri"]')" = \
    "('private-key', 'tpm2:handle=0x81000002')" ] || fail "$(cat "$T/out")"
expect_exit 0 hwid delete hwid://ec --yes
expect_exit 0 hwid delete tpm2:handle=0x81000005 --other --yes
expect_text "$T/out" 'deleted storage key'
for handle in 0x81000002 0x81000003 0x81000005; do
    if tpm_has $handle; then fail "$handle is there still"; fi
done
# Whoever does not know the owner's auth value deletes nothing.
make_tpm_key 0x81000002 ec:P-256
tpm_tool tpm2_changeauth -c o owner
(umask 077 && echo owner > "$T/owner")
expect_exit 3 hwid delete tpm2:handle=0x81000002 --yes
expect_text "$T/err" --owner-auth-source
tpm_has 0x81000002 || fail 'it is gone'
expect_exit 0 hwid delete tpm2:handle=0x81000002 --yes --owner-auth-source "file:$T/owner"
if tpm_has 0x81000002; then fail 'it is there still'; fi
