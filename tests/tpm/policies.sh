#!/bin/bash
# Keys that a policy opens: made and put into files by tpm2-tools and openssl, used by stock openssl.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tpm/tss2.bash
. "$HWID_TESTS_DIR/tpm/tss2.bash"
start_tpm
make_parent 0x81000001
TPM_OBJECTS=()
HWID_WORLD=tpm make_conf "$T/openssl.cnf" default-first chip
sed -i '/^pin-source = /d' "$T/openssl.cnf"
export OPENSSL_CONF=$T/openssl.cnf
cd "$T"
echo text > data
(umask 077 && echo sesame > auth)

signs() { # KEY [PUBLIC]: a signature that stock openssl verifies
    openssl pkey -in "$1" -passin pass: -pubout -out signer.pub
    openssl dgst -sha256 -sign "$1" -passin pass: -out signature data
    plain_openssl dgst -sha256 -verify signer.pub -signature signature data > verified ||
        fail "$1: $(cat verified)"
}
commands() { # COMMAND...: runs it; what the TPM was asked is in the variables below
    forget_calls
    "$@"
    SIGN=$(tpm_commands 15d) PCR=$(tpm_commands 17f) START=$(tpm_commands 176)
    ALL=$(tpm_commands)
}
extend() { tpm_tool tpm2_pcrextend "$1:sha256=$(printf '%064d' "$2")"; }
pcr_value() { # BANK PCR
    tpm_tool tpm2_pcrread "$1:$2" -o pcr.bin
    hex_of pcr.bin
}
sha256_of() { printf '%s' "$1" | unhex | plain_openssl dgst -sha256 -r | cut -d' ' -f1; }

extend 16 1
extend 23 2
VALUE16=$(pcr_value sha256 16)
VALUE23=$(pcr_value sha256 23)
BOTH=$(sha256_of "$VALUE16$VALUE23")

# --- one PCR, and both dialects of the statement

trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16'
make_policy_key pcr pcr.policy
DIGEST=$(sha256_of "$VALUE16")
write_tss2 pcr.pem auth=true "policy=0x17f:$(tpm2b "$DIGEST")$(pcr_selection 000b 16)" \
    parent=0x81000001 pub=pcr.pub priv=pcr.priv
commands signs pcr.pem
[ "$START $PCR $SIGN $ALL" = '1 1 1 6' ] || # Load, and what is flushed at the end
    fail "$START sessions, $PCR PolicyPCR, $SIGN Sign of $ALL commands"
write_tss2 engine.pem auth=true "policy=0x17f:$(pcr_selection 000b 16)$DIGEST" \
    parent=0x81000001 pub=pcr.pub priv=pcr.priv
signs engine.pem
# What the TPM's own key says, and not what the file says, is what must hold.
write_tss2 wrong.pem auth=true "policy=0x17f:$(tpm2b "$(sha256_of 00)")$(pcr_selection 000b 16)" \
    parent=0x81000001 pub=pcr.pub priv=pcr.priv
expect_failure openssl dgst -sha256 -sign wrong.pem -out signature data
expect_text out "the key asks for $(hex_of pcr.policy)"
openssl pkey -in wrong.pem -pubout -out public.pem || true
write_tss2 none.pem auth=true parent=0x81000001 pub=pcr.pub priv=pcr.priv
openssl pkey -in none.pem -pubout | cmp - signer.pub
expect_failure openssl dgst -sha256 -sign none.pem -out signature data
expect_text out 'only a policy opens the key'

# --- several PCRs of two banks, another hash, RSA

VALUE1=$(pcr_value sha1 16)
trial_policy two.policy sha384 'tpm2_policypcr -l sha256:16,23+sha1:16'
HASH=sha384 ALGORITHM=rsa2048 make_policy_key two two.policy
DIGEST=$(printf '%s' "$VALUE16$VALUE23$VALUE1" | unhex | plain_openssl dgst -sha384 -r)
DIGEST=${DIGEST%% *}
SELECTION=$(pcr_selection 000b 16 23)
SELECTION="00000002${SELECTION#00000001}$(pcr_selection 0004 16 | cut -c9-)"
write_tss2 two.pem auth=true "policy=0x17f:$(tpm2b "$DIGEST")$SELECTION" \
    parent=0x81000001 pub=two.pub priv=two.priv
signs two.pem
plain_openssl pkeyutl -encrypt -pubin -inkey signer.pub -in data -out message \
    -pkeyopt rsa_padding_mode:oaep
openssl pkeyutl -decrypt -inkey two.pem -in message -out back -pkeyopt rsa_padding_mode:oaep
cmp data back

# --- auth value and password, which are never seen on the bus

for code in 0x16b 0x18c; do
    trial_policy value.policy sha256 'tpm2_policypcr -l sha256:16,23' tpm2_policyauthvalue
    make_policy_key value value.policy -p sesame
    write_tss2 value.pem auth=false \
        "policy=0x17f:$(tpm2b "$BOTH")$(pcr_selection 000b 16 23),$code:" \
        parent=0x81000001 pub=value.pub priv=value.priv
    signs "tpm2:file=$T/value.pem?pin-source=file:$T/auth"
    expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/value.pem?pin-source=file:$T/data" \
        -out signature data
    expect_text out TPM_RC_BAD_AUTH
    openssl dgst -sha256 -sign value.pem -passin pass:sesame -out signature data
done
trial_policy word.policy sha256 tpm2_policypassword
make_policy_key word word.policy -p sesame
write_tss2 word.pem auth=false policy=0x18c: parent=0x81000001 pub=word.pub priv=word.priv
sent() { # all bytes since forget_calls, in hexadecimal digits
    tail -c "+$((TPM_LOG_SEEN + 1))" tpm.log | grep -Ex '( [0-9A-F]{2})+ *' | tr -d ' \n'
}
SESAME=736573616D65
for key in value word; do
    forget_calls
    signs "tpm2:file=$T/$key.pem?pin-source=file:$T/auth"
    if [[ $(sent) == *$SESAME* ]]; then fail "$key: the auth value was sent in clear"; fi
done
sed 's/^type = tpm2$/&\nsession = none/' openssl.cnf > clear.cnf
for key in value word; do
    forget_calls
    OPENSSL_CONF=$T/clear.cnf signs "tpm2:file=$T/$key.pem?pin-source=file:$T/auth"
    [[ $(sent) == *$SESAME* ]] || fail "$key: the auth value was not sent, or is not to be seen here"
done
sed 's/^type = tpm2$/&\nsession = hmac/' openssl.cnf > hmac.cnf
for key in pcr.pem two.pem "tpm2:file=$T/value.pem?pin-source=file:$T/auth"; do
    OPENSSL_CONF=$T/hmac.cnf signs "$key"
done

# --- command code: what is allowed is done, by another way if need be; the rest is refused

trial_policy code.policy sha256 'tpm2_policycommandcode TPM2_CC_RSA_Decrypt'
ALGORITHM=rsa2048 make_policy_key code code.policy
write_tss2 code.pem auth=true policy=0x16c:00000159 parent=0x81000001 pub=code.pub priv=code.priv
commands signs code.pem
[ "$SIGN $(tpm_commands 159)" = '0 1' ] || fail "$SIGN Sign, $(tpm_commands 159) RSA_Decrypt"
trial_policy sign.policy sha256 'tpm2_policycommandcode TPM2_CC_Sign'
make_policy_key sign sign.policy
write_tss2 sign.pem auth=true policy=0x16c:0000015d parent=0x81000001 pub=sign.pub priv=sign.priv
signs sign.pem
plain_openssl genpkey -algorithm EC -pkeyopt group:P-256 -out peer.pem
plain_openssl pkey -in peer.pem -pubout -out peer.pub
expect_failure openssl pkeyutl -derive -inkey sign.pem -peerkey peer.pub -out ours
expect_text out 'use a key that may decrypt'
write_tss2 deriving.pem auth=true "policy=0x17f:$(tpm2b "$DIGEST")$SELECTION" \
    parent=0x81000001 pub=two.pub priv=two.priv
openssl pkeyutl -derive -inkey pcr.pem -peerkey peer.pub -out ours
openssl pkey -in pcr.pem -pubout -out pcr.public
plain_openssl pkeyutl -derive -inkey peer.pem -peerkey pcr.public -out theirs
cmp ours theirs

# --- statements that need nothing else, and those that are not executed

trial_policy zero.policy sha256 'tpm2_policylocality zero'
make_policy_key zero zero.policy
write_tss2 zero.pem auth=true policy=0x16f:01 parent=0x81000001 pub=zero.pub priv=zero.priv
signs zero.pem
trial_policy clock.policy sha256 'tpm2_policycountertimer --ult clock=18446744073709551615'
make_policy_key clock clock.policy
write_tss2 clock.pem auth=true policy=0x16d:0008ffffffffffffffff00080005 \
    parent=0x81000001 pub=clock.pub priv=clock.priv
signs clock.pem
write_tss2 clock.pem auth=true policy=0x16d:ffffffffffffffff00080005 \
    parent=0x81000001 pub=clock.pub priv=clock.priv
signs clock.pem
trial_policy written.policy sha256 'tpm2_policynvwritten s'
make_policy_key written written.policy
write_tss2 written.pem auth=true policy=0x18f:01 parent=0x81000001 pub=written.pub priv=written.priv
expect_failure openssl dgst -sha256 -sign written.pem -out signature data
expect_text out 'TPM2_PolicyNvWritten, which is not executed here'

# --- the auth value of something else: a hierarchy's, a persistent object's

trial_policy secret.policy sha256 'tpm2_policysecret -c o'
make_policy_key secret secret.policy
for handle in 40000001 00000000; do # the handle is a hint
    write_tss2 secret.pem auth=true "policy=0x151:${handle}0004400000010000" \
        parent=0x81000001 pub=secret.pub priv=secret.priv
    signs secret.pem
done
tpm_tool tpm2_changeauth -c owner mother
(umask 077 && echo mother > mother)
expect_failure openssl dgst -sha256 -sign secret.pem -out signature data
expect_text out 'asks for the auth value of 0x40000001, and none was given'
tpm_tool tpm2_readpublic -c 0x81000001 -n object.name
sed '/^policies = /d; s/^type = tpm2$/&\npolicies = hwid_policies/' openssl.cnf > secret.cnf
cat >> secret.cnf << END
[hwid_policies]
owner = policy_owner
wrong = policy_wrong
object = policy_object
renamed = policy_renamed
unnamed = policy_unnamed
[policy_owner]
statements = secret
secret-object = owner
secret-source = file:$T/mother
[policy_wrong]
statements = secret
secret-object = owner
secret-source = file:$T/auth
[policy_object]
statements = secret
secret-object = 0x81000005
secret-name = NAME
secret-ref = abcd
secret-source = file:$T/auth
[policy_unnamed]
statements = secret
secret-object = 0x81000005
END
export OPENSSL_CONF=$T/secret.cnf
forget_calls
signs "tpm2:file=$T/secret.pem?policy=owner"
if [[ $(sent) == *6d6f74686572* || $(sent) == *6D6F74686572* ]]; then fail 'sent in clear'; fi
expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/secret.pem?policy=wrong" -out signature data
expect_text out 'asks for the auth value of 0x40000001, which is another one'
# Below the hierarchy itself its value is known as the parent's.
tpm_tool tpm2_createprimary -C o -P mother -G ecc -c primary.ctx \
    -a 'restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'
tpm_tool tpm2_create -C primary.ctx -G ecc256 -u below.pub -r below.priv -L secret.policy \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|noda|sign'
write_tss2 below.pem auth=true policy=0x151:400000010004400000010000 parent=0x40000001 \
    pub=below.pub priv=below.priv
signs "tpm2:file=$T/below.pem?parent-pin-source=file:$T/mother"
tpm_tool tpm2_changeauth -c owner -p mother
make_parent 0x81000005 ecc sesame
tpm_tool tpm2_readpublic -c 0x81000005 -n object.name
sed -i "s/NAME/$(hex_of object.name)/" secret.cnf
tpm_tool tpm2_startauthsession -S trial.ctx
tpm_tool tpm2_policysecret -S trial.ctx -c 0x81000005 -q abcd -L object.policy sesame
tpm_tool tpm2_flushcontext trial.ctx
make_policy_key object object.policy
write_tss2 object.pem auth=true "policy=0x151:81000005$(tpm2b "$(hex_of object.name)")0002abcd" \
    parent=0x81000005 pub=object.pub priv=object.priv
expect_failure openssl dgst -sha256 -sign object.pem -out signature data
write_tss2 object.pem auth=true "policy=0x151:81000005$(tpm2b "$(hex_of object.name)")0002abcd" \
    parent=0x81000001 pub=object.pub priv=object.priv
signs "tpm2:file=$T/object.pem?policy=object"
expect_failure openssl dgst -sha256 -sign object.pem -out signature data
expect_text out 'asks for the auth value of 0x81000005, and none was given'
expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/object.pem?policy=unnamed" \
    -out signature data
expect_text out secret-name
export OPENSSL_CONF=$T/openssl.cnf

# --- a PCR that changed

extend 23 3
NOW23=$(pcr_value sha256 23)
signs pcr.pem
expect_failure openssl dgst -sha256 -sign value.pem -passin pass:sesame -out signature data
expect_text out "sha256:23=$NOW23"
expect_text out "digest $(sha256_of "$VALUE16$NOW23")"
expect_text out "the policy wants digest $BOTH"
# The same where the file's description has the values.
write_tss2 noted.pem auth=false "policy=0x17f:$(tpm2b "$BOTH")$(pcr_selection 000b 16 23),0x16b:" \
    "description=PCRs sha256:16=$VALUE16 sha256:23=$VALUE23" \
    parent=0x81000001 pub=value.pub priv=value.priv
expect_failure openssl dgst -sha256 -sign noted.pem -passin pass:sesame -out signature data
expect_text out "PCR 23 of bank sha256 is $NOW23 and the policy wants $VALUE23"
