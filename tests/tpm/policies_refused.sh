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
