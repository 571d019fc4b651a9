#!/bin/bash
# hwid verify on PKCS#11 tokens that lie, fail, and go away; and what is left of what it makes.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/verify.bash
. "$HWID_TESTS_DIR/tool/verify.bash"

key() { printf 'pkcs11:token=line;object=%s' "$1"; }
objects() { find "$T/tokens" -name '*.object' | wc -l; }

make_token line rsa:2048,label=rsa,id=01 rsa:2048,label=wrappable,id=04,wrappable
pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --list-mechanisms 2> "$T/text" |
    awk '/[ ,]wrap/ {n++} END {print n + 0}' > "$T/wrapping"
[ "$(cat "$T/wrapping")" -ge 5 ] || fail "pkcs11-tool shows no wrapping mechanisms"
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/module.cnf" default-first line
export OPENSSL_CONF=$T/module.cnf HWID_TEST_CONTROL=$T/control
before=$(objects)

lies() { printf '%s\n' "$@" > "$T/control"; }
# It says that the key stays, and gives it out.
lies 'attribute 0x162 00' 'attribute 0x164 01'
verdict can-leave 1 "$(key wrappable)"
found CKA_EXTRACTABLE false good
found CKA_NEVER_EXTRACTABLE true good
found 'C_WrapKey CKM_AES_KEY_WRAP_PAD' CKR_OK bad
is '"C_WrapKey" in d["reasons"][0]' True
lies 'fail C_WrapKey CKR_OK'
verdict can-leave 1 "$(key rsa)"
lies 'attribute 0x124 c0ffee'
verdict can-leave 1 "$(key rsa)"
found 'C_GetAttributeValue CKA_PRIME_1' CKR_OK bad
is "$(check 'C_GetAttributeValue CKA_PRIME_1')[\"meaning\"].split()[0]" 3
# It says that it did, and did not.
lies 'fail C_SetAttributeValue CKR_OK' 'fail C_CopyObject CKR_OK'
verdict software-token 0 "$(key rsa)"
found 'C_SetAttributeValue CKA_EXTRACTABLE=true' CKR_OK good
is "$(check 'C_SetAttributeValue CKA_EXTRACTABLE=true')[\"meaning\"]" \
    'refused: the token says so, and changed nothing'
# No answer is no proof, and calls may be missing.
lies 'fail C_WrapKey CKR_DEVICE_ERROR' 'hide-function C_CopyObject'
verdict software-token 0 "$(key rsa)"
found 'C_WrapKey CKM_AES_KEY_WRAP' CKR_DEVICE_ERROR warning
found 'C_CopyObject CKA_SENSITIVE=false' CKR_FUNCTION_NOT_SUPPORTED good
is 'any("no clear answer" in r for r in d["reasons"])' True
lies 'fail C_GenerateKey CKR_FUNCTION_NOT_SUPPORTED' 'fail C_CreateObject 0xd0'
verdict software-token 0 "$(key rsa)"
found 'C_WrapKey CKM_AES_KEY_WRAP' 'not asked' warning
is "'CKR_TEMPLATE_INCOMPLETE' in $(check 'C_WrapKey CKM_AES_KEY_WRAP')[\"meaning\"]" True
# Nor is what it does not say.
lies 'hide-attribute 0x103' 'hide-attribute 0x162'
verdict software-token 0 "$(key rsa)"
found CKA_SENSITIVE 'no answer' warning
found CKA_EXTRACTABLE 'no answer' warning
is '"does not say that the key cannot leave it" in d["reasons"][0]' True
lies 'hide-attribute 0x162'
verdict software-token 0 "$(key rsa)"
is '"(no answer to CKA_EXTRACTABLE)" in d["reasons"][0]' True
# A token that goes away refuses nothing.
lies 'at C_WrapKey remove-token'
refused 3 CKR_ hwid verify "$(key rsa)"
# Whose name it has, no table knows; that its slot is no hardware, it says itself.
lies 'lie C_GetTokenInfo blank' 'lie C_GetInfo blank'
sed '/^token =/d' "$T/module.cnf" > "$T/any.cnf"
OPENSSL_CONF=$T/any.cnf expect_exit 0 hwid verify 'pkcs11:object=rsa' --json
is '"CKF_HW_SLOT" in d["device"]["software"]' True

# --- what was made on the way is gone

lies ''
count_calls hwid verify "$(key rsa)" > "$T/text"
[ "$(calls C_WrapKey)" = "$(cat "$T/wrapping")" ] || fail "$(calls C_WrapKey) C_WrapKey"
made=$(($(calls C_GenerateKey) + 2 * $(calls C_GenerateKeyPair)))
[ "$made" -ge 3 ] || fail "$made session keys"
[ "$(calls C_DestroyObject)" = "$made" ] || fail "$(calls C_DestroyObject) of $made objects destroyed"
unset HWID_TEST_CONTROL
[ "$(objects)" = "$before" ] || fail 'there are other objects'
