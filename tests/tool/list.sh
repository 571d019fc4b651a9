#!/bin/bash
# hwid list: what is there, in words and as JSON, and what cannot be looked at hides nothing else.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

says() { # TEXT...: each is in what the last command printed
    local text
    for text in "$@"; do expect_text "$T/out" "$text"; done
}
says_not() { # TEXT
    if grep -qF -- "$1" "$T/out"; then fail "\"$1\" in $(cat "$T/out")"; fi
}
is() { # EXPRESSION VALUE: of the JSON
    [ "$(json "$1")" = "$2" ] || fail "$1 is not $2: $(cat "$T/out")"
}
object() { # LABEL [CLASS]: a Python expression, of the first token
    printf '[o for o in d["tokens"][0]["objects"] if o["label"] == "%s" and o["class"] == "%s"][0]' \
        "$1" "${2:-private-key}"
}
data_object() { # LABEL [OPTION...]
    pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --token-label line --login --pin "$PIN" \
        --write-object "$T/plain.cnf" --type data --label "$@" > "$T/tool.out" 2>&1 ||
        fail "$(cat "$T/tool.out")"
}
harmless() { # what was printed cannot play with a terminal, and is UTF-8
    if LC_ALL=C grep -q $'[\x01-\x08\x0b-\x1f\x7f]' "$T/out" "$T/err"; then
        fail "control characters: $(cat -v "$T/out" "$T/err")"
    fi
    iconv -f UTF-8 -t UTF-8 "$T/out" > /dev/null || fail "no UTF-8: $(cat -v "$T/out")"
}

make_token line rsa:2048,label=rsa,id=01 ec:P-256,label=ec,id=02,extractable \
    ec:P-256,label=bare,id=03,no-public
make_ca ca
make_conf "$T/openssl.cnf" default-first line "keys.rsa=$(key_uri line rsa pin)" \
    'keys.gone=pkcs11:token=line;object=gone' "state-dir = $T/state"
export OPENSSL_CONF=$T/openssl.cnf
openssl req -new -key hwid:rsa -subj /CN=device -out "$T/device.csr"
issue_cert ca device client "$T/device.csr"
add_certificate line rsa 01 "$T/device.pem"
add_certificate line authority 77 "$T/ca.pem"
data_object note
data_object hidden --private

# --- what there is, in words

expect_exit 0 hwid list
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
[ "$(head -n 1 "$T/out")" = "openssl.cnf $T/openssl.cnf" ] || fail "$(cat "$T/out")"
says 'by            OPENSSL_CONF' 'provider      hwid' \
    'token line' 'uri           pkcs11:token=line' "$(basename "$HWID_SOFTHSM_MODULE"), slot" \
    'PIN           ok' \
    'key rsa' 'uri           pkcs11:token=line;object=rsa;id=%01;type=private' 'RSA 2048' \
    'exportable    no: sensitive, unextractable' 'never extractable, made on the token' \
    'certificate   CN=device, ends 20' ' days' \
    'pkcs11:token=line;object=rsa;id=%01;type=cert' \
    'key ec' 'EC P-256' 'exportable    yes: not sensitive, extractable' \
    'key bare' 'the token holds no public half' \
    'certificate authority' 'subject       CN=ca' \
    'data note' 'pkcs11:token=line;object=note;type=data' 'data hidden' \
    "hwid init token 'pkcs11:slot-id=" '--label LABEL' \
    'name hwid://rsa' 'leads to      RSA 2048' \
    'name hwid://gone' "nothing yet: \`hwid generate 'hwid://gone'\` makes a key there" \
    'no object matches'
[ "$(grep -c '^certificate ' "$T/out")" = 1 ] || fail 'a certificate beside its key, and again'
if grep -q '^public key' "$T/out"; then fail 'a half of a pair, by itself'; fi
says_not "$PIN"
harmless

# The URIs are good for something.
while read -r uri; do
    openssl pkey -in "$uri" -pubout -out "$T/key.pem" || fail "$uri"
done < <(sed -n 's/^ *uri *\(.*object=[re].*type=private\)$/\1/p' "$T/out")

# --- the same as JSON

expect_exit 0 hwid list --json
is 'd["openssl_conf"]["path"], d["provider"]' "('$T/openssl.cnf', 'hwid')"
is 'd["tokens"][0]["label"], d["tokens"][0]["user_pin"]' "('line', 'ok')"
is 'd["tokens"][0]["served"], d["tokens"][0]["initialized"]' '(True, True)'
is '[(t["initialized"], "objects" in t) for t in d["tokens"]]' '[(True, True), (False, False)]'
is "$(object rsa)[\"type\"]" 'RSA 2048'
is "$(object rsa)[\"uri\"]" 'pkcs11:token=line;object=rsa;id=%01;type=private'
is "$(object rsa)[\"certificates\"][0][\"subject\"]" 'CN=device'
is "$(object rsa certificate)[\"issuer\"]" 'CN=ca'
ends=$(plain_openssl x509 -in "$T/device.pem" -noout -enddate -dateopt iso_8601 | sed 's/.*=//; s/ /T/')
is "$(object rsa certificate)[\"not_after\"]" "$ends"
is "$(object rsa)[\"exportable\"], $(object ec)[\"exportable\"]" '(False, True)'
is "$(object ec)[\"protection\"][\"sensitive\"]" False
is "\"certificates\" in $(object ec)" False
is "\"no public half\" in $(object bare)[\"problem\"], \"type\" in $(object bare)" '(True, False)'
is "$(object note other)[\"traits\"]" data
is '{n["name"]: n.get("type", "?") for n in d["names"]}' "{'gone': '?', 'rsa': 'RSA 2048'}"

# --- one URI

expect_exit 0 hwid list "$(key_uri line rsa)"
says 'key rsa'
says_not 'key ec'
expect_exit 0 hwid list 'pkcs11:token=line;type=cert' --json
is 'sorted(o["label"] for o in d["objects"])' "['authority', 'rsa']"
expect_exit 0 hwid list hwid://rsa
says 'uri           hwid://rsa'
# What stands beside the key has a URI of its own.
make_conf "$T/pair.cnf" default-first line 'keys.pair=pkcs11:token=line;object=rsa'
OPENSSL_CONF=$T/pair.cnf expect_exit 0 hwid list hwid://pair --json
is '[(o["class"], o["uri"]) for o in d["objects"]]' "[('private-key', 'hwid://pair'), \
('certificate', 'pkcs11:token=line;object=rsa;id=%01;type=cert')]"
refused 1 'no object matches' hwid list 'pkcs11:token=line;object=gone'
refused 3 'no token matches' hwid list 'pkcs11:token=gone'
refused 1 'not configured' hwid list hwid://nothing
refused 2 'a key URI begins with' hwid list "$T/device.pem"
refused 2 'expects [URI]' hwid list pkcs11: tpm2:
refused 2 'name the token whose PIN it is' hwid list --pin-source "file:$T/pin"

# Two keys of one label are two objects to look at, as is one that is for RSA-PSS alone with its half.
token_tool generate line "$PIN" ec:P-256,label=dup,id=0a ec:P-256,label=dup,id=0b
expect_exit 0 hwid list 'pkcs11:token=line;object=dup' --json
is 'sorted(o["uri"] for o in d["objects"] if o["class"] == "private-key")' \
    "['pkcs11:token=line;object=dup;id=%0a;type=private', 'pkcs11:token=line;object=dup;id=%0b;type=private']"
hwid generate 'pkcs11:token=line;object=pss' --type rsa-pss:2048 > "$T/text"
expect_exit 0 hwid list 'pkcs11:token=line;object=pss'
says 'key pss' 'RSA-PSS 2048'
says_not 'public key'

# --- names that nobody wrote into openssl.cnf

mkdir -p "$T/state/enrolled/current" "$T/state/dangling/current" "$T/state/other"
hwid ref "$(key_uri line ec)" --out "$T/state/enrolled/current/key.pem" > "$T/text"
ln -s "$T/nowhere" "$T/state/dangling/current/key.pem"
expect_exit 0 hwid list --json
is 'sorted(n["name"] for n in d["names"])' "['enrolled', 'gone', 'rsa']"
is '[n["type"] for n in d["names"] if n["name"] == "enrolled"]' "['EC P-256']"
is '[n["target"] for n in d["names"] if n["name"] == "enrolled"]' \
    "['$T/state/enrolled/current/key.pem']"

# --- without a PIN nothing is asked, and no try is spent

HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/module.cnf" default-first line \
    "keys.rsa=$(key_uri line rsa pin)" "keys.ec=$(key_uri line ec)" "keys.file=$T/key.ref"
hwid ref "$(key_uri line ec)" --out "$T/key.ref" > "$T/text"
sed -e '/^pin-source/d' -e '/^rsa=/d' "$T/module.cnf" > "$T/no-pin.cnf"
OPENSSL_CONF=$T/no-pin.cnf expect_exit 0 count_calls hwid list
[ "$(calls C_Login)" = 0 ] || fail "$(calls C_Login) logins"
says 'public key rsa' 'certificate authority' 'no private key seen'
says_not 'key bare'
OPENSSL_CONF=$T/no-pin.cnf expect_exit 0 count_calls hwid list pkcs11:token=line
[ "$(calls C_Login)" = 0 ] || fail "$(calls C_Login) logins"
says 'public key rsa'
expect_text "$T/err" 'give --pin-source'
OPENSSL_CONF=$T/no-pin.cnf expect_exit 0 hwid list pkcs11:token=line --pin-source "file:$T/pin"
says 'key bare'
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
OPENSSL_CONF=$T/no-pin.cnf refused 3 "$T/no-such" hwid list pkcs11:token=line \
    --pin-source "file:$T/no-such"
(umask 077 && echo 9999 > "$T/wrong")
OPENSSL_CONF=$T/no-pin.cnf refused 1 CKR_PIN_INCORRECT count_calls hwid list pkcs11:token=line \
    --pin-source "file:$T/wrong"
[ "$(calls C_Login)" = 1 ] || fail "$(calls C_Login) logins"
hwid list pkcs11:token=line > "$T/text" # the right PIN: no try is missing any more

# --- tokens that lie, fail, or want to play

export HWID_TEST_CONTROL=$T/control
lying() { # DIRECTIVE [ARGUMENT...]: the exit code is good, as other tokens are shown
    printf '%s\n' "$1" > "$T/control"
    OPENSSL_CONF=$T/module.cnf expect_exit 0 timeout 30 "$HWID_TOOLS_DIR/hwid" list "${@:2}"
    harmless
}
for size in too-large too-small huge unavailable; do
    lying "lie C_GetAttributeValue $size"
    lying "lie C_FindObjects $size"
    lying "lie C_GetSlotList $size" --json
    json 'len(d["tokens"])' > "$T/text"
done
lying 'lie C_GetAttributeValue huge'
says 'token line' 'the token claims an attribute of 2147483647 bytes'
lying 'lie C_GetAttributeValue unavailable attribute=0x0'
says 'object of unknown class rsa'
for text in blank full nul no-serial; do
    lying "lie C_GetTokenInfo $text"
    says 'PIN           ok'
done
lying 'attribute 0x3 1b5d303b6f776e656407c29bff22' # an escape sequence, C1, and no UTF-8
says 'key \x1b]0;owned\x07\xc2\x9b\xff"' 'object=%1b]0%3bowned%07%c2%9b%ff%22'
lying 'attribute 0x3 1b5d303b6f776e656407c29bff22' --json
is 'd["tokens"][0]["objects"][0]["label"].startswith("\x1b]0;owned\x07")' True
lying 'attribute 0x11 3003020101' # CKA_VALUE: a certificate that is none
says 'PIN           ok'
lying 'fail C_FindObjects CKR_DEVICE_ERROR'
says 'token line' 'problem       C_FindObjects: CKR_DEVICE_ERROR (0x30) token=line'
lying 'fail C_GetSlotList CKR_DEVICE_ERROR'
says 'problem       C_GetSlotList: CKR_DEVICE_ERROR'
# A PIN that may be wrong is not sent again and again; what is public is seen without it.
for each in '+0x10000:the PIN was wrong' '+0x20000:the next wrong PIN locks it' \
    '+0x40000:the PIN is locked'; do
    forget_calls
    HWID_TEST_REPORT=$T/counts lying "token-flags ${each%%:*}"
    says "no login      ${each#*:}" 'public key rsa' 'certificate authority'
    [ "$(calls C_Login)" = 0 ] || fail "$each: $(calls C_Login) logins"
    # A logical name is no way around that, whatever it leads to.
    [ "$(grep -c "no login      ${each#*:}" "$T/out")" = 4 ] || fail "$each: $(cat "$T/out")"
done
says 'PIN           locked'
lying 'token-flags +0x20000' --json
is 'd["tokens"][0]["user_pin"]' last-try
is '"locks it" in d["tokens"][0]["not_logged_in"]' True
printf 'token-flags +0x10000\n' > "$T/control"
OPENSSL_CONF=$T/module.cnf expect_exit 0 hwid list pkcs11:token=line
says 'key bare'
unset HWID_TEST_CONTROL

# --- two tokens of one label: each gets a URI of its own

make_token other ec:P-256,label=there
token_tool init line "$SO_PIN" "$PIN"
expect_exit 0 hwid list --json
is 'len([t for t in d["tokens"] if t["label"] == "line"])' 2
is 'len({t["uri"] for t in d["tokens"]})' 4
is 'all(";serial=" + t["serial"] in t["uri"] for t in d["tokens"] if t["label"] == "line")' True
is '[t["served"] for t in d["tokens"] if t["label"] == "other"]' '[False]'
is 'sorted(len(t["objects"]) for t in d["tokens"] if t["label"] == "line")' '[0, 10]'
expect_exit 0 hwid list
says 'token other' 'serves another token: no URI leads here'

# --- a label with a quote, in commands that are told

make_token "a'b" ec:P-256,label=there
make_conf "$T/quote.cnf" default-first "\"a'b\""
sed '/^pin-source/d' "$T/quote.cnf" > "$T/no-pin.cnf"
OPENSSL_CONF=$T/no-pin.cnf expect_exit 0 hwid list
says "(hwid list 'pkcs11:token=a'\\''b' asks for it)"

# --- openssl.cnf

sed -e 's/^backends = dev/backends = lost dev/' -e 's/^dev = hwid_dev/&\nlost = hwid_lost/' \
    "$T/openssl.cnf" > "$T/lost.cnf"
printf '[hwid_lost]\ntype = pkcs11\nmodule = %s/no-such-module.so\n' "$T" >> "$T/lost.cnf"
OPENSSL_CONF=$T/lost.cnf expect_exit 0 hwid list
says "lost: pkcs11 $T/no-such-module.so" "problem       dlopen" 'token line' 'key rsa'
OPENSSL_CONF=$T/lost.cnf expect_exit 0 hwid list --json
is '[t["backend"] for t in d["tokens"] if "problem" in t]' "['lost']"
sed 's/^backends = dev/backends = dev missing/' "$T/openssl.cnf" > "$T/missing.cnf"
OPENSSL_CONF=$T/missing.cnf refused 3 missing hwid list
printf 'openssl_conf = init\n[init\n' > "$T/broken.cnf"
OPENSSL_CONF=$T/broken.cnf refused 3 "$T/broken.cnf:2" hwid list
refused 3 "$T/broken.cnf:2" hwid list --openssl-conf "$T/broken.cnf" --json
# Without our section, there are p11-kit's modules.
: > "$T/empty.cnf"
for file in "$T/plain.cnf" "$T/empty.cnf" ''; do
    OPENSSL_CONF=$file expect_exit 0 hwid list
    says "openssl.cnf $file" 'not loaded by this file' 'by            OPENSSL_CONF'
    if grep -q 'tcti:' "$T/err"; then fail "tpm2-tss has its say: $(cat "$T/err")"; fi
done
# A file that is not there is told, and no file that is named here.
OPENSSL_CONF=$T/no-such.cnf expect_exit 0 hwid list
says "openssl.cnf $T/no-such.cnf" 'not loaded: there is no such file'
expect_text "$T/err" "OPENSSL_CONF names $T/no-such.cnf: No such file or directory"
refused 3 "file=$T/no-such.cnf: No such file or directory" hwid list --openssl-conf "$T/no-such.cnf"
OPENSSL_CONF=$T/no-such.cnf expect_exit 0 hwid status --fail-on critical
says 'it is not there, so no token is looked at'
PKCS11_PROVIDER_MODULE=$HWID_SOFTHSM_MODULE OPENSSL_CONF=$T/plain.cnf expect_exit 0 hwid list
says 'token line' 'public key rsa' 'no private key seen'
expect_exit 0 hwid list --openssl-conf "$T/plain.cnf"
says 'by            --openssl-conf'

# --- a TPM

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
make_token chip rsa:2048,label=rsa ec:P-256,label=ec
make_conf "$T/openssl.cnf" default-first chip keys.rsa=tpm2:handle=0x81000002 \
    keys.gone=tpm2:handle=0x81000077
forget_calls
expect_exit 0 hwid list
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
says 'token chip' "TCTI          $TPM_TCTI" 'PIN           ok (0 of 3 failures)' \
    'uri           pkcs11:token=chip;object=rsa;type=private' 'exportable    no: fixedTPM' \
    'storage key EC P-256 0x81000001' 'uri           tpm2:handle=0x81000001' \
    'name hwid://gone' 'TPM_RC_HANDLE' 'leads to      RSA 2048'
expect_exit 0 hwid list --json
is 'd["tokens"][0]["kind"], d["tokens"][0]["lockout"]["failures"]' "('tpm2', 0)"
is '[o["class"] for o in d["tokens"][0]["objects"]]' "['private-key', 'private-key', 'other']"
is "$(object ec)[\"type\"], $(object ec)[\"exportable\"]" "('EC P-256', False)"
# A key that is to be made some day is no fault of the TPM.
sed 's/^objects = /&none=0x81000078 /' "$T/openssl.cnf" > "$T/later.cnf"
OPENSSL_CONF=$T/later.cnf expect_exit 0 hwid list
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
sed -e 's/^objects = .*/objects = none=0x81000078/' -e 's/^parent = .*//' "$T/openssl.cnf" > "$T/later.cnf"
OPENSSL_CONF=$T/later.cnf expect_exit 0 hwid list
[ ! -s "$T/err" ] || fail "$(cat "$T/err")"
says 'token chip' 'key 0x81000002'
says_not '  problem'
expect_exit 0 hwid list tpm2:handle=0x81000003
says 'key 0x81000003' 'EC P-256'
refused 1 TPM_RC_HANDLE hwid list tpm2:handle=0x81000077
stop_daemon "$TPM_PID"
expect_exit 0 hwid list
says "dev: tpm2 $TPM_TCTI" 'problem       Tss2_TctiLdr_Initialize' 'no TPM answers there'
