#!/bin/bash
# What the TPM says against a key's parent is told of the parent, and what it says against a wrapped
# private half of that: keys made by tpm2-tools, used by stock openssl.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tpm/tss2.bash
. "$HWID_TESTS_DIR/tpm/tss2.bash"
start_tpm
TPM_OBJECTS=()
HWID_WORLD=tpm make_conf "$T/openssl.cnf" default-first chip
sed -i '/^pin-source = /d; /^parent = /d' "$T/openssl.cnf"
export OPENSSL_CONF=$T/openssl.cnf
cd "$T"
echo text > data
(umask 077 && echo sesame > auth && echo mother > parent-auth && echo other > wrong)
IMPORTABLE=type=2.23.133.10.1.4
USER='sensitivedataorigin|userwithauth|sign'

sign() { # KEY
    openssl dgst -sha256 -sign "$1" -passin pass: -out signature data
}
fails() { # KEY TEXT...
    local key=$1 text
    shift
    expect_failure sign "$key"
    for text in "$@"; do expect_text out "$text"; done
}
wrap() { # NAME PARENT.pub [ARGUMENT...]: a software key, wrapped: NAME.tpm, .priv, .seed
    plain_openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    tpm_tool tpm2_duplicate --tcti none -U "$2" -G ecc -k "$1.key" -u "$1.tpm" -r "$1.priv" \
        -s "$1.seed" "${@:3}"
}
importable() { # NAME PARENT
    write_tss2 "$1.pem" "$IMPORTABLE" auth=true "secret=$(hex_of "$1.seed")" "parent=$2" \
        "pub=$1.tpm" "priv=$1.priv"
}

# --- a parent that is not there, that is no storage key, that only its policy opens

make_parent 0x81000001
tpm_tool tpm2_readpublic -c 0x81000001 -o parent.pub
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u key.pub -r key.priv -p sesame -a "fixedtpm|fixedparent|$USER|noda"
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u free.pub -r free.priv -a "fixedtpm|fixedparent|$USER|noda"
tpm_tool tpm2_load -C 0x81000001 -u free.pub -r free.priv -c free.ctx
tpm_tool tpm2_evictcontrol -C o -c free.ctx 0x81000056
tpm_tool tpm2_createek -G rsa -c 0x81010001
wrap soft parent.pub
for parent in 0x81000055 0x81000056 0x81010001; do
    case $parent in
        0x81000055) text='is not in the TPM; list what is there' ;;
        0x81000056) text='is no storage key; name the parent' ;;
        0x81010001) text='cannot be used with an auth value, only by a policy of its own' ;;
    esac
    importable soft $parent
    fails soft.pem "the key's parent ($parent) $text"
    write_tss2 free.pem auth=true parent=$parent pub=free.pub priv=free.priv
    fails free.pem "the key's parent ($parent) $text"
    write_tss2 key.pem auth=false parent=$parent pub=key.pub priv=key.priv
    fails "tpm2:file=$T/key.pem?pin-source=file:$T/auth" "the key's parent ($parent) $text"
done
write_tss2 key.pem auth=false parent=0x81000001 pub=key.pub priv=key.priv
sign "tpm2:file=$T/key.pem?pin-source=file:$T/auth"

# --- the parent's auth value is wrong, not the key's

make_parent 0x81000040 ecc mother
tpm_tool tpm2_readpublic -c 0x81000040 -o protected.pub
tpm_tool tpm2_create -C 0x81000040 -P mother -G ecc256 -u below.pub -r below.priv -p sesame \
    -a "fixedtpm|fixedparent|$USER|noda"
write_tss2 below.pem auth=false parent=0x81000040 pub=below.pub priv=below.priv
wrap inside protected.pub
importable inside 0x81000040
WRONG="the auth value of the key's parent (0x81000040) is wrong; correct what ?parent-pin-source="
for session in auto none; do
    sed "s/^type = tpm2\$/&\nsession = $session/" openssl.cnf > session.cnf
    export OPENSSL_CONF=$T/session.cnf
    for command in Load:below Import:inside; do
        uri="tpm2:file=$T/${command#*:}.pem?pin-source=file:$T/auth"
        TPM2OPENSSL_PARENT_AUTH=wrong fails "$uri" "TPM2_${command%:*}: TPM_RC_" "$WRONG"
        fails "$uri&parent-pin-source=file:$T/wrong" "$WRONG"
        tpm_tool tpm2_dictionarylockout -c
    done
    sign "tpm2:file=$T/below.pem?pin-source=file:$T/auth&parent-pin-source=file:$T/parent-auth"
done
export OPENSSL_CONF=$T/openssl.cnf
expect_failure sign "tpm2:file=$T/below.pem?pin-source=file:$T/wrong&parent-pin-source=file:$T/parent-auth"
if grep -q "parent (" out; then fail "the parent is blamed: $(cat out)"; fi
tpm_tool tpm2_dictionarylockout -c

# --- the name that the section's parent must have

write_tss2 free.pem auth=true parent=0x81000001 pub=free.pub priv=free.priv
pin() { # HANDLE: parent-name is that of the key there
    tpm_tool tpm2_readpublic -c "$1" -n pinned.name
    sed "s/^type = tpm2\$/&\nparent = 0x81000001\nparent-name = $(hex_of pinned.name)/" \
        openssl.cnf > pinned.cnf
}
pin 0x81000056
OPENSSL_CONF=$T/pinned.cnf fails free.pem 'not the one that parent-name asks for'
pin 0x81000001
OPENSSL_CONF=$T/pinned.cnf sign free.pem
sed -i 's/^type = tpm2$/&\nsession = none/' pinned.cnf
OPENSSL_CONF=$T/pinned.cnf fails free.pem 'remove parent-name, or set session = auto or hmac'

# --- what is wrapped is not what the TPM imports

tpm_tool tpm2_createprimary -C o -G ecc384 -g sha384 -c big.ctx \
    -a 'restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'
tpm_tool tpm2_evictcontrol -C o -c big.ctx 0x81000004
tpm_tool tpm2_readpublic -c 0x81000004 -o big.pub
wrap seeded big.pub
importable seeded 0x81000004
fails seeded.pem "not as long as the key's name digest; wrap the key for a parent with that"

trial_policy duplicate.policy sha256 'tpm2_policycommandcode TPM2_CC_Duplicate'
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u moved.pub -r moved.old -L duplicate.policy -a "$USER"
tpm_tool tpm2_load -C 0x81000001 -u moved.pub -r moved.old -c moved.ctx
tpm_tool tpm2_loadexternal -C n -u parent.pub -c new.ctx
duplicate() { # ARGUMENT...: moved.priv and moved.seed
    tpm_tool tpm2_startauthsession --policy-session -S moved.session
    tpm_tool tpm2_policycommandcode -S moved.session TPM2_CC_Duplicate
    tpm_tool tpm2_duplicate -C new.ctx -c moved.ctx -p session:moved.session -r moved.priv \
        -s moved.seed "$@"
    tpm_tool tpm2_flushcontext moved.session
}
cp moved.pub moved.tpm
duplicate -G null
importable moved 0x81000001
sign moved.pem
head -c 16 /dev/urandom > inner.key
duplicate -G aes -i inner.key
importable moved 0x81000001
fails moved.pem 'TPM2_Import: TPM_RC_' 'or has an inner wrapper, whose key the file does not have'
