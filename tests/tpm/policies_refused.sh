#!/bin/bash
# Policies of which something is missing or wrong: it costs one failure of the TPM's few, and no
# session is left; where another policy holds, that one is taken.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tpm/tss2.bash
. "$HWID_TESTS_DIR/tpm/tss2.bash"
start_tpm
make_parent 0x81000001
TPM_OBJECTS=()
cd "$T"
echo text > data
(umask 077 && echo sesame > auth)
(umask 077 && echo another > wrong)
HWID_WORLD=tpm make_conf "$T/openssl.cnf" default-first chip dev.policies=hwid_policies
sed -i '/^pin-source = /d' openssl.cnf
printf '%s\n' '[hwid_policies]' 'av = policy_av' '[policy_av]' 'statements = auth-value' \
    >> openssl.cnf
export OPENSSL_CONF=$T/openssl.cnf

signs() { # KEY: a signature that stock openssl verifies
    openssl pkey -in "$1" -passin pass: -pubout -out signer.pub
    openssl dgst -sha256 -sign "$1" -passin pass: -out signature data
    plain_openssl dgst -sha256 -verify signer.pub -signature signature data > verified ||
        fail "$1: $(cat verified)"
}
loaded_sessions() {
    tpm_tool tpm2_getcap handles-loaded-session
    cat tpm.out
}
failures() {
    tpm_tool tpm2_getcap properties-variable
    echo $(($(sed -n 's/^TPM2_PT_LOCKOUT_COUNTER: *//p' tpm.out)))
}
# The command fails, and asks the TPM once. FAILURES: what that counts.
once() { # COMMAND-CODE FAILURES COMMAND...
    local code=$1 wanted=$2 before
    shift 2
    before=$(failures)
    forget_calls
    expect_failure "$@"
    [ "$(tpm_commands "$code") $(tpm_commands 176)" = '1 1' ] ||
        fail "$*: $(tpm_commands "$code") times, with $(tpm_commands 176) sessions: $(cat out)"
    [ "$(($(failures) - before))" = "$wanted" ] || fail "$*: $(failures) failures, of which $before before"
    [ -z "$(loaded_sessions)" ] || fail "$*: left $(loaded_sessions)"
}
none() { # COMMAND-CODE COMMAND...: it fails, and does not ask
    local code=$1
    shift
    forget_calls
    expect_failure "$@"
    [ "$(tpm_commands "$code")" = 0 ] || fail "$*: asked $(tpm_commands "$code") times"
}

# --- a policy of the auth value, and none is given

trial_policy av.policy sha256 tpm2_policyauthvalue
ATTRIBUTES='fixedtpm|fixedparent|sensitivedataorigin|sign' make_policy_key counted av.policy -p sesame
make_policy_key harmless av.policy -p sesame
persist counted 0x81000010
persist harmless 0x81000011
for key in counted harmless; do
    write_tss2 $key.pem auth=false policy=0x16b: parent=0x81000001 pub=$key.pub priv=$key.priv
    signs "tpm2:file=$T/$key.pem?pin-source=file:$T/auth"
done
sed 's/^type = tpm2$/&\nsession = hmac/' openssl.cnf > hmac.cnf
sign() { openssl dgst -sha256 -sign "$1" -passin pass: -out signature data; }
once 15d 1 sign counted.pem
expect_text out 'none was given'
none 15d sign counted.pem # by another process, neither
expect_text out '1 of 3 failures count'
tpm_tool tpm2_dictionarylockout -c
once 15d 1 sign 'tpm2:handle=0x81000010?policy=av'
tpm_tool tpm2_dictionarylockout -c
for key in harmless.pem "tpm2:file=$T/harmless.pem" 'tpm2:handle=0x81000011?policy=av'; do
    once 15d 0 sign "$key"
done
once 15d 1 sign "tpm2:file=$T/counted.pem?pin-source=file:$T/wrong"
expect_text out TPM_RC_AUTH_FAIL
tpm_tool tpm2_dictionarylockout -c
OPENSSL_CONF=$T/hmac.cnf expect_failure sign counted.pem
[ "$(failures)" = 1 ] || fail "$(failures) failures"
[ -z "$(loaded_sessions)" ] || fail "left $(loaded_sessions)"
tpm_tool tpm2_dictionarylockout -c

# --- the same of an NV index

plain_openssl req -x509 -newkey rsa:2048 -noenc -keyout nv.key -subj /CN=nv -outform DER -out nv.der \
    2> out
tpm_tool tpm2_nvdefine 0x1500001 -C o -s "$(stat -c %s nv.der)" -p sesame -L av.policy \
    -a 'ownerwrite|policyread'
tpm_tool tpm2_nvwrite 0x1500001 -C o -i nv.der
read_nv() { openssl x509 -in "$1" -out read.pem; }
once 14e 1 read_nv 'tpm2:nv=0x1500001?policy=av'
none 14e read_nv 'tpm2:nv=0x1500001?policy=av'
expect_text out '1 of 3 failures count'
read_nv "tpm2:nv=0x1500001?policy=av&pin-source=file:$T/auth"
plain_openssl x509 -in read.pem -outform DER | cmp - nv.der
tpm_tool tpm2_dictionarylockout -c

# --- a policy of another object's auth value, and none is given

asks_for() { # NAME HANDLE VALUE [ARGUMENT...]: a key that asks for that of an object, which is made
    local name=$1 handle=$2 value=$3
    tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u whose.pub -r whose.priv -p "$value" "${@:4}"
    persist whose "$handle"
    tpm_tool tpm2_readpublic -c "$handle" -n whose.name
    trial_policy "$name.policy" sha256 "tpm2_policysecret -c $handle $value"
    make_policy_key "$name" "$name.policy"
    write_tss2 "$name.pem" auth=true "policy=0x151:${handle#0x}$(tpm2b "$(hex_of whose.name)")0000" \
        parent=0x81000001 "pub=$name.pub" "priv=$name.priv"
}
asks_for asks 0x81000030 sesame
sed 's/^av = policy_av$/&\nasks = policy_asks/' openssl.cnf > asks.cnf
printf '%s\n' '[policy_asks]' 'statements = secret' 'secret-object = 0x81000030' \
    "secret-name = $(hex_of whose.name)" "secret-source = file:$T/auth" >> asks.cnf
asks_for asks-nobody 0x81000032 ''
signs asks-nobody.pem
asks_for asks-harmless 0x81000031 sesame \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign'
once 151 1 sign asks.pem
expect_text out "asks for the auth value of 0x81000030, and none was given; name it: secret-source"
if grep parent-pin-source out; then fail 'it is not the parent'"'"'s'; fi
none 151 sign asks.pem # by another process, neither
expect_text out 'asks for the auth value of 0x81000030, and none was given; it is not tried without'
expect_text out '1 of 3 failures count; name the value: secret-source'
if grep parent-pin-source out; then fail 'it is not the parent'"'"'s'; fi
OPENSSL_CONF=$T/asks.cnf signs "tpm2:file=$T/asks.pem?policy=asks"
once 151 0 sign asks-harmless.pem
expect_text out 'asks for the auth value of 0x81000031, and none was given'
none 151 sign asks-nobody.pem # nobody knows that it has none
expect_text out 'hwid pin unblock tpm2:'
tpm_tool tpm2_dictionarylockout -c
signs asks-nobody.pem

# --- one of several lacks its value, its signature, or has a wrong one: another one is taken

extend() { tpm_tool tpm2_pcrextend "$1:sha256=$(printf '%064d' "$2")"; }
pcr_value() {
    tpm_tool tpm2_pcrread "sha256:$1" -o pcr.bin
    hex_of pcr.bin
}
either() { # NAME HANDLE BRANCH...: a key that any of the policies opens: BRANCH.policy
    local name=$1 handle=$2 list
    shift 2
    list=$(printf ',%s.policy' "$@")
    tpm_tool tpm2_startauthsession -S trial.ctx
    tpm_tool tpm2_policyor -S trial.ctx -L "$name.policy" "sha256:${list#,}"
    tpm_tool tpm2_flushcontext trial.ctx
    make_policy_key "$name" "$name.policy"
    persist "$name" "$handle"
}
section() { # NAME LINE...
    printf '[policy_%s]\n' "$1"
    printf '%s\n' "${@:2}"
}
conf() { sed '/^\[hwid_policies\]/,$d' openssl.cnf > "$1"; }
refused() { # KEY TEXT
    expect_failure openssl dgst -sha256 -sign "$1" -out signature data
    expect_text out "$2"
}
NOW=$(pcr_value 16)
make_parent 0x81000020 ecc sesame
tpm_tool tpm2_readpublic -c 0x81000020 -n object.name
tpm_tool tpm2_startauthsession -S trial.ctx
tpm_tool tpm2_policysecret -S trial.ctx -c 0x81000020 -L obj.policy sesame
tpm_tool tpm2_flushcontext trial.ctx
trial_policy own.policy sha256 'tpm2_policysecret -c o'
trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16'
plain_openssl ecparam -name prime256v1 -genkey -noout -out ec.pem
plain_openssl pkey -in ec.pem -pubout -out ec.pub
tpm_tool tpm2_loadexternal -C o -G ecc -u ec.pub -c ec.ctx -n ec.name
tpm_tool tpm2_startauthsession -S trial.ctx
tpm_tool tpm2_policyauthorize -S trial.ctx -i pcr.policy -n ec.name -L aut.policy
tpm_tool tpm2_flushcontext trial.ctx
either object 0x81000012 obj pcr
either owner 0x81000013 own pcr
either authorized 0x81000014 aut pcr
either all 0x81000015 obj own pcr
make_policy_key aut aut.policy
persist aut 0x81000017
conf several.cnf
{
    echo '[hwid_policies]'
    for name in obj own aut pcr object owner authorized all; do echo "$name = policy_$name"; done
    section obj 'statements = secret' 'secret-object = 0x81000020' \
        "secret-name = $(hex_of object.name)" "secret-source = file:$T/wrong"
    section own 'statements = secret' 'secret-object = owner'
    section aut 'statements = pcr authorize' "pcr = sha256:16=$NOW" "authorize-key = $T/ec.pub"
    section pcr 'statements = pcr' "pcr = sha256:16=$NOW"
    section object 'statements = or' 'or = obj pcr'
    section owner 'statements = or' 'or = own pcr'
    section authorized 'statements = or' 'or = aut pcr'
    section all 'statements = or' 'or = obj own pcr'
} >> several.cnf
export OPENSSL_CONF=$T/several.cnf
tpm_tool tpm2_changeauth -c owner mother
for name in object:0x81000012 owner:0x81000013 authorized:0x81000014 all:0x81000015; do
    signs "tpm2:handle=${name#*:}?policy=${name%:*}"
done
[ -z "$(loaded_sessions)" ] || fail "left $(loaded_sessions)"
refused 'tpm2:handle=0x81000017?policy=aut' 'TPM2_PolicyAuthorize: '
expect_text out 'asks for a signature, and none is given'
extend 16 1
refused 'tpm2:handle=0x81000012?policy=object' 'asks for the auth value of 0x81000020'
refused 'tpm2:handle=0x81000014?policy=authorized' "and the policy wants $NOW"
tpm_tool tpm2_changeauth -c owner -p mother
signs 'tpm2:handle=0x81000013?policy=owner' # without a value, as the owner has none

# --- none holds: each PCR is told

LATER=$(pcr_value 16)
trial_policy later.policy sha256 'tpm2_policypcr -l sha256:16'
either neither 0x81000016 pcr later
conf neither.cnf
{
    printf '%s\n' '[hwid_policies]' 'neither = policy_neither' 'pcr = policy_pcr' \
        'later = policy_later'
    section neither 'statements = or' 'or = pcr later'
    section pcr 'statements = pcr' "pcr = sha256:16=$NOW"
    section later 'statements = pcr' "pcr = sha256:16=$LATER"
} >> neither.cnf
export OPENSSL_CONF=$T/neither.cnf
signs 'tpm2:handle=0x81000016?policy=neither'
extend 16 2
refused 'tpm2:handle=0x81000016?policy=neither' "and the policy wants $NOW"
expect_text out "and the policy wants $LATER"

# --- in a file: what cannot be read leaves the rest usable

export OPENSSL_CONF=$T/openssl.cnf
signature() { # DER-FILE: TPMT_SIGNATURE of ECDSA and SHA-256
    plain_openssl asn1parse -inform DER -in "$1" | sed -n 's/.*INTEGER *:-\{0,1\}//p' |
        while read -r number; do tpm2b "$(printf '%064s' "$number" | tr ' ' 0)"; done |
        sed '1s/^/0018000b/' | tr -d '\n'
}
trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16'
DIGEST=$(pcr_value 16 | unhex | plain_openssl dgst -sha256 -r | cut -d' ' -f1)
PCR="0x17f:$(tpm2b "$DIGEST")$(pcr_selection 000b 16)"
make_policy_key authorized aut.policy
tpm_tool tpm2_readpublic -c ec.ctx -o ec.tpm
plain_openssl dgst -sha256 -sign ec.pem -out approval pcr.policy
SIGNER="$(hex_of ec.tpm)0000"
APPROVED="0x16a:$SIGNER$(signature approval)"
for bad in 0x149:00 0x17f:00 0x171:; do
    write_tss2 authorized.pem auth=true "policy=0x16a:${SIGNER}0010" \
        "named=bad:$APPROVED,$bad;good:$APPROVED,$PCR" parent=0x81000001 pub=authorized.pub priv=authorized.priv
    signs authorized.pem
done
make_policy_key pcr pcr.policy
pcr_file() { # FIELD...: pcr.pem
    write_tss2 pcr.pem auth=true "$@" parent=0x81000001 pub=pcr.pub priv=pcr.priv
}
for bad in '0x149:00 TPM2_PolicyNV,' '0x17f:00 TPM2_PolicyPCR has no selection' \
    '0x16b:00 TPM2_PolicyAuthValue has parameters' '0x16c:00 TPM2_PolicyCommandCode has no command' \
    '0x171: statements = or' '0x151:400000070004400000070000 the null hierarchy'; do
    pcr_file "policy=${bad%% *}"
    refused pcr.pem "${bad#* }"
done

# What a description says of other PCRs than those of the policy is the user's own text.
extend 16 3
for name in 'my PCRs key' 'PCRs' 'PCRs of mine; my PCRs'; do
    pcr_file "policy=$PCR" "description=$name"
    refused pcr.pem "object=$name: "
    pcr_file "policy=$PCR" "description=$name; PCRs sha256:16=$DIGEST"
    refused pcr.pem "object=$name: "
done

# --- the auth value of the null hierarchy, which no TPM lets a policy ask for

conf null.cnf
{
    printf '%s\n' '[hwid_policies]' 'null = policy_null'
    section null 'statements = secret' 'secret-object = null'
} >> null.cnf
OPENSSL_CONF=$T/null.cnf refused 'tpm2:handle=0x81000010?policy=null' \
    'secret-object = null: write owner, endorsement, platform, lockout, or a persistent handle'

# --- a policy of other commands than the one that is wanted

for code in '0159 RSA_Decrypt' '014b Duplicate'; do
    trial_policy code.policy sha256 "tpm2_policycommandcode TPM2_CC_${code#* }"
    make_policy_key code code.policy
    write_tss2 code.pem auth=true "policy=0x16c:0000${code% *}" parent=0x81000001 \
        pub=code.pub priv=code.priv
    refused code.pem "the key's policy allows only TPM2_${code#* }; make one that may sign"
done
