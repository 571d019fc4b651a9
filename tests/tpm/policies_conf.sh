#!/bin/bash
# Policies by configuration, for keys in the TPM and in files: made by tpm2-tools.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tpm/tss2.bash
. "$HWID_TESTS_DIR/tpm/tss2.bash"
start_tpm
make_parent 0x81000001
cd "$T"
echo text > data
(umask 077 && echo sesame > auth)
TPM_OBJECTS=('own=0x81000012')

# POLICY-SECTION...: openssl.cnf with them, each "NAME: KEY = VALUE; KEY = VALUE"
configure() { # FILE [SECTION...]
    local file=$1 section name
    shift
    HWID_WORLD=tpm make_conf "$file" default-first chip dev.policies=hwid_policies \
        "${DEFAULT_POLICY:+dev.policy=policy_$DEFAULT_POLICY}"
    sed -i '/^pin-source = /d' "$file"
    {
        echo '[hwid_policies]'
        for section in "$@"; do name=${section%%:*} && echo "$name = policy_$name"; done
        for section in "$@"; do
            printf '[policy_%s]\n' "${section%%:*}"
            tr ';' '\n' <<< "${section#*:}"
        done
    } >> "$file"
}
signs() { # KEY: a signature that stock openssl verifies
    openssl pkey -in "$1" -pubout -out signer.pub
    openssl dgst -sha256 -sign "$1" -out signature data
    plain_openssl dgst -sha256 -verify signer.pub -signature signature data > verified ||
        fail "$1: $(cat verified)"
}
refused() { # KEY TEXT
    expect_failure openssl dgst -sha256 -sign "$1" -out signature data
    expect_text out "$2"
}
extend() { tpm_tool tpm2_pcrextend "$1:sha256=$(printf '%064d' "$2")"; }
pcr_value() {
    tpm_tool tpm2_pcrread "sha256:$1" -o pcr.bin
    hex_of pcr.bin
}
BEFORE=$(pcr_value 16)
extend 23 1
VALUE23=$(pcr_value 23)

trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16,23'
make_policy_key pcr pcr.policy
persist pcr 0x81000010
trial_policy value.policy sha256 'tpm2_policycommandcode TPM2_CC_Sign' tpm2_policyauthvalue
make_policy_key value value.policy -p sesame
persist value 0x81000011
persist value 0x81000012

# --- by the URI, by the key's name, for all keys

sections=(
    "booted: statements = pcr; pcr = sha256:16=$BEFORE sha256:23=$VALUE23"
    'now: statements = pcr; pcr = sha256:16,23'
    'own: statements = command-code auth-value; command-code = sign'
)
configure openssl.cnf "${sections[@]}"
export OPENSSL_CONF=$T/openssl.cnf
refused 'tpm2:handle=0x81000010' 'only a policy opens the key'
signs 'tpm2:handle=0x81000010?policy=booted'
forget_calls
signs 'tpm2:handle=0x81000010?policy=now'
[ "$(tpm_commands 17f) $(tpm_commands 15d) $(tpm_commands 176) $(tpm_commands 165)" = '1 1 1 1' ] ||
    fail "$(tpm_commands) commands"
signs "pkcs11:token=chip;object=own?pin-source=file:$T/auth"
signs "tpm2:handle=0x81000011?policy=own&pin-source=file:$T/auth"
refused "tpm2:handle=0x81000011?policy=own&pin-source=file:$T/data" TPM_RC_BAD_AUTH
refused 'tpm2:handle=0x81000010?policy=own' 'it is not the key'
expect_text out "the key asks for $(hex_of pcr.policy)"
refused 'tpm2:handle=0x81000010?policy=nobody' 'there is no policy of that name'
DEFAULT_POLICY=booted configure default.cnf "${sections[@]}"
OPENSSL_CONF=$T/default.cnf signs 'tpm2:handle=0x81000010'
OPENSSL_CONF=$T/default.cnf openssl storeutl -noout -keys tpm2: > out # others are listed as well
[ "$(grep -c 'Pkey' out)" = 3 ] || fail "$(cat out)"

# One that is wrong hides no key from a listing, and is told at the key's use.
DEFAULT_POLICY=booted configure wrong.cnf "${sections[@]:0:2}" \
    'own: statements = pcr; pcr = sha256:nothing'
OPENSSL_CONF=$T/wrong.cnf openssl storeutl -noout -keys tpm2: > out
[ "$(grep -c 'Pkey' out)" = 3 ] || fail "$(cat out)"
OPENSSL_CONF=$T/wrong.cnf refused 'pkcs11:token=chip;object=own' 'pcr = sha256:nothing'
write_tss2 plain.pem auth=true parent=0x81000001 pub=value.pub priv=value.priv
OPENSSL_CONF=$T/wrong.cnf refused plain.pem 'it is not the key'

# --- one of several

extend 16 7
AFTER=$(pcr_value 16)
for value in BEFORE AFTER; do
    HASH=sha256
    printf '%s' "${!value}$VALUE23" | unhex > values
    tpm_tool tpm2_startauthsession -S trial.ctx
    tpm_tool tpm2_policypcr -S trial.ctx -l sha256:16,23 -f values -L "$value.policy"
    tpm_tool tpm2_flushcontext trial.ctx
done
trial_policy word.policy sha256 tpm2_policyauthvalue
tpm_tool tpm2_startauthsession -S trial.ctx
tpm_tool tpm2_policyor -S trial.ctx -L or.policy sha256:BEFORE.policy,AFTER.policy,word.policy
tpm_tool tpm2_flushcontext trial.ctx
make_policy_key either or.policy -p sesame
persist either 0x81000013
configure openssl.cnf \
    "before: statements = pcr; pcr = sha256:16=$BEFORE sha256:23=$VALUE23" \
    "after: statements = pcr; pcr = sha256:16=$AFTER+sha256:23=$VALUE23" \
    'word: statements = auth-value' \
    'either: statements = or; or = before after word' \
    'unknown: statements = pcr; pcr = sha256:16' \
    'bad: statements = or; or = before unknown' \
    'late: statements = pcr or; pcr = sha256:16; or = before after' \
    'round: statements = or; or = round before' \
    'typo: statements = prc' \
    'range: statements = pcr; pcr = sha256:24' \
    "half: statements = pcr; pcr = sha256:16=$AFTER sha256:23"
forget_calls
signs 'tpm2:handle=0x81000013?policy=either'
[ "$(tpm_commands 17f) $(tpm_commands 180) $(tpm_commands 171) $(tpm_commands 17e)" = '2 1 1 0' ] ||
    fail "$(tpm_commands 17f) PolicyPCR, $(tpm_commands 180) PolicyRestart"
extend 16 8
signs "tpm2:handle=0x81000013?policy=either&pin-source=file:$T/auth"
refused 'tpm2:handle=0x81000013?policy=before' 'it is not the key'
NOW=$(pcr_value 16)
refused 'tpm2:handle=0x81000010?policy=before' \
    "PCR 16 of bank sha256 is $NOW and the policy wants $BEFORE"
if grep -q 'PCR 23' out; then fail "what has not changed is named: $(cat out)"; fi
refused 'tpm2:handle=0x81000010?policy=bad' 'the values of PCRs must be there'
refused 'tpm2:handle=0x81000010?policy=late' 'it stands first'
refused 'tpm2:handle=0x81000010?policy=round' 'too many times'
refused 'tpm2:handle=0x81000010?policy=typo' 'statements = prc: write pcr, auth-value'
refused 'tpm2:handle=0x81000010?policy=range' 'pcr = sha256:24'
refused 'tpm2:handle=0x81000010?policy=half' 'all of them'

# --- signed, by keys of both kinds, in both forms

plain_openssl ecparam -name prime256v1 -genkey -noout -out ec.pem
plain_openssl genrsa -out rsa.pem 2048 2> out
REF=0a0b0c
declare -A FORMAT=([ec]=ecdsa [rsa]=rsassa)
for kind in ec rsa; do
    plain_openssl pkey -in $kind.pem -pubout -out $kind.pub
    tpm_tool tpm2_loadexternal -C o -G ${kind/ec/ecc} -u $kind.pub -c $kind.ctx -n $kind.name
    tpm_tool tpm2_readpublic -c $kind.ctx -o $kind.tpm
    printf '00000000%s' $REF | unhex > message # expiration, policyRef
    plain_openssl dgst -sha256 -sign $kind.pem -out $kind.signature message
    trial_policy $kind.policy sha256 \
        "tpm2_policysigned -c $kind.ctx -g sha256 -f ${FORMAT[$kind]} -s $kind.signature -q $REF"
    make_policy_key by-$kind $kind.policy
done
persist by-ec 0x81000014
persist by-rsa 0x81000015
printf '00000000' | unhex > message
plain_openssl dgst -sha256 -sign ec.pem -out other.signature message
signed() { # NAME KEY-FILE SIGNATURE
    printf '%s: statements = signed; signed-key = %s; signed-ref = %s; signed-signature = %s' \
        "$1" "$T/$2" $REF "$T/$3"
}
configure openssl.cnf "$(signed pem ec.pub ec.signature)" "$(signed tpm ec.tpm ec.signature)" \
    "$(signed rsa rsa.pub rsa.signature)" "$(signed forged ec.pub other.signature)" \
    "$(signed none nothing ec.signature)" "$(signed noise data ec.signature)" \
    "$(signed mixed rsa.pub ec.signature)"
signs 'tpm2:handle=0x81000014?policy=pem'
signs 'tpm2:handle=0x81000014?policy=tpm'
signs 'tpm2:handle=0x81000015?policy=rsa'
refused 'tpm2:handle=0x81000014?policy=forged' TPM_RC_SIGNATURE
expect_text out "the signature is not one of 00000000$REF with sha256"
refused 'tpm2:handle=0x81000014?policy=none' "signed-key $T/nothing: No such file"
refused 'tpm2:handle=0x81000014?policy=noise' 'it is neither a TPM2B_PUBLIC'
refused 'tpm2:handle=0x81000014?policy=mixed' 'signed-signature'
refused 'tpm2:handle=0x81000014?policy=rsa' 'it is not the key'

# --- authorized: what was approved may change, the key stays

approve() { # NAME VALUE-OF-16: NAME.policy, approved by ec.pem in NAME.approval
    printf '%s' "$2" | unhex > values
    tpm_tool tpm2_startauthsession -S trial.ctx
    tpm_tool tpm2_policypcr -S trial.ctx -l sha256:16 -f values -L "$1.policy"
    tpm_tool tpm2_flushcontext trial.ctx
    { cat "$1.policy" && printf '%s' $REF | unhex; } > message
    plain_openssl dgst -sha256 -sign ec.pem -out "$1.approval" message
}
approve first "$NOW"
approve stale "$BEFORE"
tpm_tool tpm2_startauthsession -S trial.ctx
tpm_tool tpm2_policyauthorize -S trial.ctx -i first.policy -q $REF -n ec.name -L authorize.policy
tpm_tool tpm2_policyauthvalue -S trial.ctx -L authorize-value.policy
tpm_tool tpm2_flushcontext trial.ctx
make_policy_key authorized authorize.policy
persist authorized 0x81000016
make_policy_key with-value authorize-value.policy -p sesame
authorized() { # NAME STATEMENTS VALUE APPROVAL
    printf '%s: statements = %s; pcr = %s; authorize-key = %s; authorize-ref = %s; ' \
        "$1" "$2" "$3" "$T/ec.pub" $REF
    printf 'authorize-signature = %s' "$T/$4"
}
configure openssl.cnf "$(authorized first 'pcr authorize' "sha256:16=$NOW" first.approval)" \
    "$(authorized open 'pcr authorize' 'sha256:16' first.approval)" \
    "$(authorized stale 'pcr authorize' "sha256:16=$BEFORE" stale.approval)" \
    "$(authorized forged 'pcr authorize' "sha256:16=$NOW" stale.approval)" \
    "$(authorized value 'pcr authorize auth-value' "sha256:16=$NOW" first.approval)"
forget_calls
signs 'tpm2:handle=0x81000016?policy=first'
[ "$(tpm_commands 167) $(tpm_commands 177) $(tpm_commands 16a)" = '1 1 1' ] || fail "$(tpm_commands)"
signs 'tpm2:handle=0x81000016?policy=open'
refused 'tpm2:handle=0x81000016?policy=stale' "PCR 16 of bank sha256 is $NOW"
refused 'tpm2:handle=0x81000016?policy=forged' 'is not approved'
extend 16 9
refused 'tpm2:handle=0x81000016?policy=first' "and the policy wants $NOW"
approve second "$(pcr_value 16)"
configure openssl.cnf "$(authorized next 'pcr authorize' "sha256:16=$(pcr_value 16)" second.approval)" \
    "$(authorized value 'pcr authorize auth-value' "sha256:16=$(pcr_value 16)" second.approval)"
signs 'tpm2:handle=0x81000016?policy=next'

# --- the same in files: several that are approved, of which one holds, and what is asked besides

signature() { # DER-FILE: TPMT_SIGNATURE of ECDSA and SHA-256
    plain_openssl asn1parse -inform DER -in "$1" |
        sed -n 's/.*INTEGER *:\(-\{0,1\}\)/\1/p' | while read -r number; do
        number=$(printf '%064s' "$number" | tr ' ' 0)
        tpm2b "$number"
    done | sed 's/^/0018000b/'
}
pcr_is() { tpm2b "$(printf '%s' "$1" | unhex | plain_openssl dgst -sha256 -r | cut -d' ' -f1)"; }
SIGNER="$(hex_of ec.tpm)$(tpm2b $REF)"
FIRST="0x16a:$SIGNER$(signature first.approval),0x17f:$(pcr_is "$NOW")$(pcr_selection 000b 16)"
SECOND="0x17f:$(pcr_is "$(pcr_value 16)")$(pcr_selection 000b 16)"
SECOND+=",0x16a:$SIGNER$(signature second.approval)" # as the TPM is told
write_tss2 authorized.pem auth=true "policy=0x16a:${SIGNER}0010" "named=old:$FIRST" \
    "parent=0x81000001" pub=authorized.pub priv=authorized.priv
refused authorized.pem 'and the policy wants'
write_tss2 authorized.pem auth=true "policy=$SECOND" parent=0x81000001 \
    pub=authorized.pub priv=authorized.priv
signs authorized.pem
write_tss2 authorized.pem auth=true "policy=0x16a:${SIGNER}0010" parent=0x81000001 \
    pub=authorized.pub priv=authorized.priv
refused authorized.pem 'it asks for a signature'
signs "tpm2:file=$T/authorized.pem?policy=next"
write_tss2 value.pem auth=false "policy=0x16a:${SIGNER}0010,0x16b:" "named=new:$SECOND" \
    parent=0x81000001 pub=with-value.pub priv=with-value.priv
signs "tpm2:file=$T/value.pem?pin-source=file:$T/auth"
write_tss2 signed.pem auth=true "policy=0x160:$SIGNER$(signature ec.signature)" \
    parent=0x81000001 pub=by-ec.pub priv=by-ec.priv
signs signed.pem
