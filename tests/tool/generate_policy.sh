#!/bin/bash
# hwid generate with policies: the keys are used by stock openssl, and by tpm2-tools.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tpm/tss2.bash
. "$HWID_TESTS_DIR/tpm/tss2.bash"
start_tpm
make_parent 0x81000001
TPM_OBJECTS=('named=0x81000020')
cd "$T"
echo text > data
(umask 077 && echo sesame > auth)

configure() { # SETTINGS...: of [policy_named], a line each
    HWID_WORLD=tpm make_conf openssl.cnf default-first chip dev.policies=hwid_policies
    sed -i '/^pin-source = /d' openssl.cnf
    printf '%s\n' '[hwid_policies]' 'named = policy_named' 'word = policy_word' \
        '[policy_word]' 'statements = auth-value' '[policy_named]' "$@" >> openssl.cnf
}
code_of() { # EXPECTED COMMAND...: ends with that exit code; its output is left in out
    local expected=$1 code=0
    shift
    "$@" > out 2>&1 || code=$?
    [ "$code" = "$expected" ] || fail "exit code $code, not $expected: $*: $(cat out)"
}
signs() { # KEY
    sed -n '/BEGIN PUBLIC KEY/,/END PUBLIC KEY/p' text > shown.pem
    openssl dgst -sha256 -sign "$1" -passin pass: -out signature data
    plain_openssl dgst -sha256 -verify shown.pem -signature signature data > verified ||
        fail "$1: $(cat verified)"
}
tools_sign() { # FILE COMMAND...: tpm2-tools use the key, in a session that was told these
    local file=$1 command value=''
    shift
    split_tss2 "$file" split
    tpm_tool tpm2_load -C 0x81000001 -u split.pub -r split.priv -c split.ctx
    tpm_tool tpm2_startauthsession -S policy.ctx --policy-session
    for command in "$@"; do
        # shellcheck disable=SC2086  # words
        tpm_tool $command -S policy.ctx
        if [ "$command" = tpm2_policyauthvalue ]; then value=+sesame; fi
    done
    tpm_tool tpm2_sign -c split.ctx -p "session:policy.ctx$value" -g sha256 -f plain -o signature data
    tpm_tool tpm2_flushcontext policy.ctx
    plain_openssl dgst -sha256 -verify shown.pem -signature signature data > verified ||
        fail "tpm2_sign: $(cat verified)"
}
extend() { tpm_tool tpm2_pcrextend "16:sha256=$(printf '%064d' "$1")"; }
pcr_value() {
    tpm_tool tpm2_pcrread sha256:16 -o pcr.bin
    hex_of pcr.bin
}
extend 1
VALUE=$(pcr_value)
configure 'statements = pcr' "pcr = sha256:16=$VALUE"
export OPENSSL_CONF=$T/openssl.cnf

# --- in files: PCRs as they are, and as they are to be

hwid generate tpm2: --out pcr.pem --policy-pcr sha256:16 > text
expect_text text 'It is used by its policy alone, which is in the file:'
expect_text text "pcr = sha256:16=$VALUE"
signs pcr.pem
tools_sign pcr.pem 'tpm2_policypcr -l sha256:16'
openssl pkey -in pcr.pem -out again.pem
cmp pcr.pem again.pem
hwid generate tpm2: --out value.pem --type rsa:2048 --policy-pcr sha256:16,23+sha1:4 \
    --policy-auth-value --auth-source file:auth > text
signs "tpm2:file=$T/value.pem?pin-source=file:$T/auth"
tools_sign value.pem 'tpm2_policypcr -l sha256:16,23+sha1:4' tpm2_policyauthvalue
hwid generate tpm2: --out code.pem --policy-command sign --policy-password \
    --auth-source file:auth > text
signs "tpm2:file=$T/code.pem?pin-source=file:$T/auth"
tools_sign code.pem 'tpm2_policycommandcode TPM2_CC_Sign' tpm2_policyauthvalue
expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/code.pem?pin-source=file:$T/data" \
    -out signature data
expect_text out TPM_RC_
# ... and what a key of that type could never do
for type in 'ec:P-256 rsa-decrypt' 'rsa:2048 ecdh-zgen'; do
    expect_failure hwid generate tpm2: --out never.pem --type "${type% *}" \
        --policy-command "${type#* }"
    expect_text out 'which is no command for an'
    if [ -e never.pem ]; then fail "a key was made for ${type#* }"; fi
done
expect_failure hwid generate tpm2: --out never.pem --policy-secret null
expect_text out 'write owner, endorsement, platform, lockout'

# --- signed, and approved: before, or later

plain_openssl ecparam -name prime256v1 -genkey -noout -out owner.pem
plain_openssl pkey -in owner.pem -pubout -out owner.pub
printf '000000000a0b' | unhex > message
plain_openssl dgst -sha256 -sign owner.pem -out owner.signature message
hwid generate tpm2: --out signed.pem --policy-signed-key owner.pub --policy-signed-ref 0a0b \
    --policy-signed-signature owner.signature > text
signs signed.pem
plain_openssl dgst -sha384 -sign owner.pem -out wrong.signature message # not the digest
expect_failure hwid generate tpm2: --out never.pem --policy-signed-key owner.pub \
    --policy-signed-ref 0a0b --policy-signed-signature wrong.signature
expect_text out 'the signature is not one of 000000000a0b with sha256'
if [ -e never.pem ]; then fail 'a key was made'; fi
tpm_tool tpm2_loadexternal -C o -G ecc -u owner.pub -c owner.ctx -n owner.name
tools_sign signed.pem \
    'tpm2_policysigned -c owner.ctx -g sha256 -f ecdsa -s owner.signature -q 0a0b'
trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16'
{ cat pcr.policy && printf 'ab' | unhex; } > message
plain_openssl dgst -sha256 -sign owner.pem -out approval message
authorize=(--policy-authorize-key owner.pub --policy-authorize-ref ab)
hwid generate tpm2: --out approved.pem --policy-pcr sha256:16 "${authorize[@]}" \
    --policy-authorize-signature approval --policy-auth-value --auth-source file:auth > text
signs "tpm2:file=$T/approved.pem?pin-source=file:$T/auth"
tpm_tool tpm2_verifysignature -c owner.ctx -g sha256 -m message -s approval -f ecdsa -t ticket
tools_sign approved.pem 'tpm2_policypcr -l sha256:16' \
    'tpm2_policyauthorize -i pcr.policy -q ab -n owner.name -t ticket' tpm2_policyauthvalue
hwid generate tpm2: --out later.pem "${authorize[@]}" > text
expect_failure signs later.pem
expect_text out 'none is in the file'
configure 'statements = pcr authorize' 'pcr = sha256:16' "authorize-key = $T/owner.pub" \
    'authorize-ref = ab' "authorize-signature = $T/approval"
signs "tpm2:file=$T/later.pem?policy=named"

hwid generate tpm2: --out secret.pem --policy-secret owner --policy-secret-ref 0c > text
signs secret.pem
tools_sign secret.pem 'tpm2_policysecret -c o -q 0c'
code_of 3 hwid generate tpm2: --out x.pem --policy-secret nobody
expect_text out 'secret-object = nobody'
code_of 2 hwid generate tpm2: --out x.pem --policy-secret-ref 0c

# --- in the TPM: what openssl.cnf must have is printed, and does

hwid generate 'pkcs11:token=chip;object=named' --policy-pcr sha256:16 --policy-command sign > text
expect_text text 'which openssl.cnf must have'
sed -n 's/^  \([a-z-]* = .*\)/\1/p' text > settings
[ "$(wc -l < settings)" = 3 ] || fail "$(cat text)"
mapfile -t settings < settings
configure "${settings[@]}"
signs 'pkcs11:token=chip;object=named'
signs 'tpm2:handle=0x81000020?policy=named'
hwid generate tpm2:handle=0x81000021 --policy named --json > json
[ "$(json "d['policy']['pcr']" json)" = "sha256:16=$VALUE" ] || fail "$(cat json)"
json "d['public_key']" json > text
signs 'tpm2:handle=0x81000021?policy=named'
openssl genpkey -propquery provider=hwid -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt hwid_uri:tpm2:handle=0x81000022?policy=named -out made.pem
openssl pkey -in made.pem -pubout -out text
signs 'tpm2:handle=0x81000022?policy=named'
code_of 1 hwid generate tpm2: --out or.pem --policy-or 'named word' --auth-source file:auth
expect_text out 'TPM2_PolicyOR has no form in a key file'
hwid generate tpm2:handle=0x81000023 --policy-or 'named word' --auth-source file:auth > text
printf '%s\n' '[policy_either]' 'statements = or' 'or = named word' >> openssl.cnf
sed -i 's/^word = policy_word$/&\neither = policy_either/' openssl.cnf
signs "tpm2:handle=0x81000023?policy=either"

# --- a PCR that changed: which one, what it is, what it was

extend 2
NOW=$(pcr_value)
for key in pcr.pem 'pkcs11:token=chip;object=named'; do
    expect_failure openssl dgst -sha256 -sign "$key" -out signature data
    expect_text out "PCR 16 of bank sha256 is $NOW and the policy wants $VALUE"
done
signs "tpm2:handle=0x81000023?policy=either&pin-source=file:$T/auth"

# --- PCRs that are to change: what is approved among several policies, else the auth value

approve() { # what PCR 16 is now
    trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16'
    { cat pcr.policy && printf 'ab' | unhex; } > message
    plain_openssl dgst -sha256 -sign owner.pem -out approval message
}
approve
approved=('statements = pcr authorize' 'pcr = sha256:16' "authorize-key = $T/owner.pub" 'authorize-ref = ab')
printf '%s\n' '[policy_changing]' "${approved[@]}" "authorize-signature = $T/approval" \
    '[policy_unsigned]' "${approved[@]}" \
    '[policy_recoverable]' 'statements = or' 'or = changing word' \
    '[policy_deep]' 'statements = or' 'or = named recoverable' >> openssl.cnf
for name in changing unsigned recoverable deep; do
    sed -i "s/^word = policy_word\$/&\n$name = policy_$name/" openssl.cnf
done
hwid generate tpm2:handle=0x81000024 --policy-or 'unsigned word' --auth-source file:auth > text
signs "tpm2:handle=0x81000024?policy=recoverable"
for policy in recoverable:0x81000025 deep:0x81000026; do
    hwid generate "tpm2:handle=${policy#*:}" --policy "${policy%:*}" --auth-source file:auth > text
    signs "tpm2:handle=${policy#*:}?policy=${policy%:*}"
done
extend 3
for policy in recoverable deep; do # the approval is looked at, too, and is one of what PCR 16 was
    code_of 3 hwid generate tpm2:handle=0x81000027 --policy $policy --auth-source file:auth
    trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16'
    expect_text out "policy $policy: the signature is not one of $(hex_of pcr.policy)ab with sha256"
done
signs "tpm2:handle=0x81000026?policy=deep&pin-source=file:$T/auth"
approve
signs "tpm2:handle=0x81000026?policy=deep"

# --- what is refused

code_of 2 hwid generate tpm2: --out x.pem --policy named --policy-pcr sha256:16
code_of 2 hwid generate tpm2: --out x.pem --policy-signed-ref 0a
code_of 3 hwid generate tpm2: --out x.pem --policy nobody
expect_text out 'policy nobody: there is none of that name'
code_of 3 hwid generate tpm2: --out x.pem --policy-pcr sha256:99
expect_text out 'pcr = sha256:99'
code_of 3 hwid generate tpm2: --out x.pem --policy-pcr sha256:16 --auth-source file:auth
expect_text out 'does not ask for'
code_of 1 hwid generate tpm2: --out x.pem --policy-pcr sm3_256:16
expect_text out 'this TPM has not all of sm3_256:16'
code_of 3 hwid generate tpm2: --out x.pem --policy-authorize-key nothing
expect_text out 'No such file'
[ ! -e x.pem ] || fail 'a key was written'
