#!/bin/bash
# What a program shows of a fault and what hwid doctor says of it are in the same words: who looks for
# the one finds the other.
# shellcheck disable=SC2016  # sed has dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
PIN=7315

make_token dev rsa:2048,label=device
GOOD=$T/good.cnf
make_conf "$GOOD" default-first dev "keys.device=$(key_uri dev device)"
cp "$T/pin" "$T/right-pin"

in_same_words() { # EDIT URI WORDS...: openssl and the doctor both say each of these words
    local edit=$1 uri=$2 words
    shift 2
    sed "$edit" "$GOOD" > "$T/edited.cnf"
    expect_exit 1 env OPENSSL_CONF="$T/edited.cnf" openssl pkey -in "$uri" -pubout -noout
    cp "$T/err" "$T/of-openssl"
    # A program's URI may be shadowed by a file, the doctor's not.
    OPENSSL_CONF=$T/edited.cnf expect_exit 1 hwid doctor --key "$uri"
    for words in "$@"; do
        expect_text "$T/of-openssl" "$words"
        expect_text "$T/out" "$words"
    done
    cp "$T/right-pin" "$T/pin"
}
K=hwid:device

in_same_words "s|^module = $HWID_SOFTHSM_MODULE|module = /nowhere/x.so|" $K \
    'PKCS#11 module' /nowhere/x.so 'No such file or directory' 'correct the path'
echo text > "$T/text.so"
in_same_words "s|^module = $HWID_SOFTHSM_MODULE|module = $T/text.so|" $K 'PKCS#11 module' "$T/text.so"
in_same_words 's/token=dev/token=deb/' $K 'token=deb' 'serves' 'token=' 'in the URI'
in_same_words 's/object=device/object=dvice/' $K \
    'pkcs11:token=dev;object=dvice;type=private' 'matches' 'device' 'object='
echo 9999 > "$T/pin"
in_same_words '' $K 'C_Login: CKR_PIN_INCORRECT (0xa0) token=dev' 'the PIN is wrong' 'correct it'
: > "$T/pin"
in_same_words '' $K "pin-source file:$T/pin" 'it is empty' 'put the PIN into its first line'
in_same_words "s|file:$T/pin|file:$T/gone|" $K "open $T/gone: No such file or directory" 'make the file'
in_same_words '/^pin-source/d' $K 'pin-source' 'file:PATH' 'in the URI'
in_same_words '' hwid:nosuch nosuch 'the section that `keys` names'
in_same_words '' 'pkcs11:tokn=dev' 'unknown attribute "tokn"' 'RFC 7512'
in_same_words 's/^type = pkcs11/type = pkcs12/' $K 'dev.type = pkcs12: unknown backend type'
in_same_words 's/^backends = dev/backends = def/' $K 'backends = def' 'def = SECTION'
in_same_words '/^\[hwid_dev\]/a log-rotations = 3\nmax-sessions = many' $K 'max-sessions' 'many'

if without_tpm; then exit 0; fi
HWID_WORLD=tpm
start_tpm
make_parent 0x81000001
make_conf "$GOOD" default-first chip 'keys.device=tpm2:handle=0x81000044'
in_same_words '' $K 0x81000044 TPM_RC_HANDLE tpm2_getcap
in_same_words "s/^tcti = .*/tcti = swtpm:port=1/" $K 'no TPM answers' swtpm:port=1 'start it' 'correct'
in_same_words 's/^tcti = .*/tcti = swtmp/' $K tcti swtmp
