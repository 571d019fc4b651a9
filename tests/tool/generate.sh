#!/bin/bash
# hwid generate: keys on a token, in a TPM and in files, as a user makes them.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

code_of() { # EXPECTED COMMAND...: ends with that exit code; its output is left in $T/out
    local expected=$1 code=0
    shift
    "$@" > "$T/out" 2>&1 || code=$?
    [ "$code" = "$expected" ] || fail "exit code $code, not $expected: $*: $(cat "$T/out")"
}
fact() { # KEY: of the document in $T/json
    json "{None: 'null', False: 'false'}.get(d['$1'], d['$1'])" "$T/json"
}
public_of() { sed -n '/BEGIN PUBLIC KEY/,/END PUBLIC KEY/p' "$1"; }
same_key() { # FILE URI: the public key that FILE shows is that of the key, which signs
    public_of "$1" > "$T/shown.pem"
    openssl pkey -in "$2" -pubout -out "$T/key.pem" || fail "$2 cannot be opened"
    cmp -s "$T/shown.pem" "$T/key.pem" || fail "another public key was shown than that of $2"
    openssl dgst -sha256 -sign "$2" -out "$T/signature" "$T/plain.cnf"
    plain_openssl dgst -sha256 -verify "$T/key.pem" -signature "$T/signature" "$T/plain.cnf" \
        > "$T/verified" || fail "$2 does not sign: $(cat "$T/verified")"
}
field() { sed -n "s/^  $2  *//p" "$1"; }

make_token line
make_conf "$T/openssl.cnf" default-first line \
    'keys.device=pkcs11:token=line;object=device' 'keys.vague=pkcs11:token=line'
export OPENSSL_CONF=$T/openssl.cnf

# --- on a token

hwid generate 'pkcs11:token=line;object=first' > "$T/text"
[ "$(head -n 1 "$T/text")" = 'New key' ] || fail "$(cat "$T/text")"
[ "$(field "$T/text" type)" = ec:P-256 ] || fail "type: $(cat "$T/text")"
[ "$(field "$T/text" 'lives in')" = 'token line' ] || fail "place: $(cat "$T/text")"
[ "$(field "$T/text" exportable)" = no ] || fail "exportable: $(cat "$T/text")"
uri=$(field "$T/text" URI)
[[ $uri == pkcs11:token=line\;object=first\;id=%*\;type=private ]] || fail "URI: $uri"
same_key "$T/text" "$uri"
openssl pkey -pubin -in "$T/shown.pem" -noout -text > "$T/out"
expect_text "$T/out" 'NIST CURVE: P-256'
# The token itself says so.
pkcs11-tool --module "$HWID_SOFTHSM_MODULE" --token-label line --login --pin "$PIN" \
    --list-objects --type privkey > "$T/out" 2> /dev/null
expect_text "$T/out" 'sensitive, always sensitive, never extractable, local'

hwid generate 'pkcs11:token=line;object=second;id=%0a%0b' --type rsa:2048 --json > "$T/json"
[ "$(fact uri)" = 'pkcs11:token=line;object=second;id=%0a%0b;type=private' ] || fail "$(fact uri)"
[ "$(fact type) $(fact token) $(fact label) $(fact id) $(fact file) $(fact exportable)" = \
    'rsa:2048 line second 0a0b null false' ] || fail "$(cat "$T/json")"
fact public_key > "$T/text"
same_key "$T/text" "$(fact uri)"

for type in rsa:3072 rsa-pss:2048 ec:P-384 ec:P-521; do
    hwid generate "pkcs11:token=line;object=${type/:/-}" -t $type > "$T/text"
    [ "$(field "$T/text" type)" = $type ] || fail "$(cat "$T/text")"
    same_key "$T/text" "$(field "$T/text" URI)"
done

hwid generate hwid://device > "$T/text" # where the keys section says
[ "$(field "$T/text" URI)" = hwid://device ] || fail "$(cat "$T/text")"
same_key "$T/text" 'pkcs11:token=line;object=device'
same_key "$T/text" hwid://device

# --- what is refused, and what is said

code_of 1 hwid generate 'pkcs11:token=line;object=first' --type rsa:2048
expect_text "$T/out" 'a private key with that label is there already'
expect_text "$T/out" "hwid delete 'pkcs11:token=line;object=first'"
code_of 1 hwid generate 'pkcs11:token=line;object=first;id=%05'
if grep -qF 'id=%05' "$T/out"; then fail "that deletes nothing: $(cat "$T/out")"; fi
code_of 1 hwid generate hwid://device
code_of 2 hwid generate 'pkcs11:token=line;object=third' --type rsa:1024
for curve in brainpoolP256r1 secp256k1 prime256v1; do # any that OpenSSL has a name for
    hwid generate "pkcs11:token=line;object=$curve" --type ec:$curve > "$T/text"
    same_key "$T/text" "$(field "$T/text" URI)"
done
code_of 2 hwid generate 'pkcs11:token=line;object=third;type=cert'
code_of 2 hwid generate 'pkcs11:token=line;object=;id=%31'
code_of 2 hwid generate 'pkcs11:token=line;object='
for type in ec: ec:nothing ec:ED25519 brainpoolP256r1; do
    code_of 2 hwid generate 'pkcs11:token=line;object=third' --type "$type"
    expect_text "$T/out" 'ecparam -list_curves'
done
expect_text "$T/out" 'choose one of: ec:P-256, ec:P-384, ec:P-521, rsa:2048, rsa:3072, rsa:4096, rsa-pss'
code_of 2 hwid generate pkcs11:token=line
expect_text "$T/out" 'object=NAME'
code_of 2 hwid generate 'pkcs11:token=line;object=third' --out "$T/x.pem"
code_of 2 hwid generate 'pkcs11:tokn=line;object=third'
expect_text "$T/out" tokn
code_of 2 hwid generate hwid:
code_of 1 hwid generate hwid://nobody
expect_text "$T/out" 'the name is not configured'
code_of 3 hwid generate hwid://vague
expect_text "$T/out" 'names no key'
code_of 2 hwid generate
code_of 3 hwid generate 'pkcs11:token=nowhere;object=third'
expect_text "$T/out" 'no token matches'
code_of 3 hwid generate tpm2:
expect_text "$T/out" 'no TPM is configured'
code_of 1 hwid generate 'pkcs11:token=line;object=third' --pin-source "file:$T/plain.cnf"
expect_text "$T/out" CKR_PIN_INCORRECT
code_of 2 hwid generate 'pkcs11:token=line;object=third?pin-value=1' --pin-source "file:$T/pin"

# A label that would play with the terminal.
hwid generate 'pkcs11:token=line;object=a%1b%5b31mb%0ac' > "$T/text"
if grep -q $'\x1b' "$T/text"; then fail "a label reached the terminal as it is"; fi
same_key "$T/text" "$(field "$T/text" URI)"

# A token that lacks the mechanism: its own word for it.
HWID_CONF_MODULE=$HWID_TEST_MODULE make_conf "$T/test.cnf" default-first line
echo 'fail C_GenerateKeyPair CKR_MECHANISM_INVALID' > "$T/control"
code_of 1 env HWID_TEST_CONTROL="$T/control" "$HWID_TOOLS_DIR/hwid" generate \
    'pkcs11:token=line;object=third' --openssl-conf "$T/test.cnf"
expect_text "$T/out" CKR_MECHANISM_INVALID
expect_text "$T/out" 'makes no keys of type EC P-256'

# Several at once, the others while the first one makes its key: one of a label.
echo 'delay-us C_GenerateKeyPair 3000000' > "$T/control"
starts() { [ "$(calls C_Login)" = "$1" ]; }
forget_calls
made=() good=0
for each in 1 2 3; do # (SoftHSM answers CKR_GENERAL_ERROR to logins at the same moment)
    HWID_TEST_CONTROL=$T/control HWID_TEST_REPORT=$T/counts hwid generate \
        'pkcs11:token=line;object=race' --openssl-conf "$T/test.cnf" > "$T/race.out" 2>> "$T/race.err" &
    made+=($!)
    wait_for 20 starts "$each" || fail "$(cat "$T/race.err")"
done
for each in "${made[@]}"; do if wait "$each"; then good=$((good + 1)); fi; done
[ $good = 1 ] || fail "$good keys of one label were made: $(cat "$T/race.err")"
[ "$(grep -c 'a private key with that label is there already' "$T/race.err")" = 2 ] ||
    fail "$(cat "$T/race.err")"
# A label for a shell to fall over: the command that is told is one to paste.
hwid generate "pkcs11:token=line;object=a'%24(id)" > "$T/text"
code_of 1 hwid generate "pkcs11:token=line;object=a'%24(id)"
expect_text "$T/out" "hwid delete 'pkcs11:token=line;object=a'\\''\$(id)'"

# --- in a TPM

start_tpm
TPM_OBJECTS=('named=0x81000010' 'later=0x81000005')
make_tpm_conf() { # FILE [LINE...]
    HWID_WORLD=tpm make_conf "$1" default-first chip "${@:2}"
    sed -i '/^parent = /d; /^pin-source = /d' "$1"
}
make_tpm_conf "$T/tpm.cnf" "keys.wrapped=tpm2:file=$T/wrapped.pem" keys.chip=tpm2:handle=0x81000020
export OPENSSL_CONF=$T/tpm.cnf

hwid generate tpm2:handle=0x81000003 > "$T/text"
[ "$(field "$T/text" URI)" = tpm2:handle=0x81000003 ] || fail "$(cat "$T/text")"
[ "$(field "$T/text" 'lives in')" = 'the TPM, at the persistent handle 0x81000003' ] ||
    fail "$(cat "$T/text")"
same_key "$T/text" tpm2:handle=0x81000003
for handle in 2 4 6; do # the next free one; 3 is taken, 5 is meant by a name
    hwid generate tpm2: --json > "$T/json"
    [ "$(fact uri)" = "tpm2:handle=0x8100000$handle" ] || fail "$(cat "$T/json")"
    fact public_key > "$T/text"
    same_key "$T/text" "$(fact uri)"
done
code_of 1 hwid generate tpm2:handle=0x81000003
expect_text "$T/out" TPM_RC_NV_DEFINED
expect_text "$T/out" "hwid delete 'tpm2:handle=0x81000003'"
hwid generate 'pkcs11:token=chip;object=named' > "$T/text"
same_key "$T/text" tpm2:handle=0x81000010
hwid generate hwid:chip --type rsa:2048 > "$T/text"
same_key "$T/text" tpm2:handle=0x81000020
code_of 1 hwid generate tpm2: --type rsa:4096
expect_text "$T/out" TPM_RC_VALUE
expect_text "$T/out" 'this TPM makes no keys of RSA 4096; choose another type'

# Wrapped, in a file for its owner alone.
hwid generate tpm2: --out "$T/key.tss2.pem" > "$T/text"
[ "$(field "$T/text" URI)" = "tpm2:file=$T/key.tss2.pem" ] || fail "$(cat "$T/text")"
[ "$(stat -c %a "$T/key.tss2.pem")" = 600 ] || fail "mode $(stat -c %a "$T/key.tss2.pem")"
expect_text "$T/key.tss2.pem" 'BEGIN TSS2 PRIVATE KEY'
same_key "$T/text" "tpm2:file=$T/key.tss2.pem"
same_key "$T/text" "$T/key.tss2.pem"
cp "$T/key.tss2.pem" "$T/before"
code_of 1 hwid generate tpm2: --out "$T/key.tss2.pem"
expect_text "$T/out" "$T/key.tss2.pem: it exists already"
if grep -q -e --force "$T/out"; then fail "there is no --force here: $(cat "$T/out")"; fi
cmp -s "$T/before" "$T/key.tss2.pem" || fail "a key was overwritten"
ln -s "$T/elsewhere" "$T/link.pem"
code_of 3 hwid generate tpm2: --out "$T/link.pem"
[ ! -e "$T/elsewhere" ] || fail "a link chose the file"
code_of 2 hwid generate "tpm2:file=$T/a.pem" --out "$T/b.pem"
code_of 3 hwid generate tpm2: --out "$T/nowhere/b.pem"
expect_text "$T/out" "$T/nowhere/b.pem: No such file or directory"
hwid generate "tpm2:file=$T/rsa.pem" --type rsa:2048 --parent owner > "$T/text"
same_key "$T/text" "$T/rsa.pem"
hwid generate hwid:wrapped > "$T/text" # a name that leads to a file
same_key "$T/text" "$T/wrapped.pem"
[ -z "$(find "$T" -name '.hwid-*')" ] || fail "a temporary file was left"

# With an auth value: without it the key does not sign.
(umask 077 && echo 'sesame' > "$T/auth")
hwid generate tpm2: --out "$T/auth.pem" --auth-source "file:$T/auth" > "$T/text"
same_key "$T/text" "tpm2:file=$T/auth.pem?pin-source=file:$T/auth"
expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/auth.pem?pin-source=file:$T/plain.cnf" \
    -out "$T/signature" "$T/plain.cnf"
expect_text "$T/out" TPM_RC_AUTH_FAIL
if grep -rq sesame "$T/text" "$T/auth.pem"; then fail "the auth value was shown"; fi
code_of 2 hwid generate tpm2: --parent nobody
code_of 3 hwid generate tpm2: --auth-source "file:$T/nothing"
expect_text "$T/out" "$T/nothing"

# An owner with an auth value must be asked for.
tpm_tool tpm2_changeauth -c owner mother
(umask 077 && echo mother > "$T/owner")
code_of 3 hwid generate tpm2:handle=0x81000030
hwid generate tpm2:handle=0x81000030 --owner-auth-source "file:$T/owner" \
    --parent-auth-source "file:$T/owner" > "$T/text"
same_key "$T/text" tpm2:handle=0x81000030
