#!/bin/bash
# Keys that were wrapped elsewhere for a parent in this TPM, and keys below every hierarchy: made by
# tpm2-tools, used by stock openssl.
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
(umask 077 && echo sesame > auth && echo mother > hierarchy)
IMPORTABLE=type=2.23.133.10.1.4

signs() { # KEY PUBLIC: a signature that stock openssl verifies
    openssl dgst -sha256 -sign "$1" -passin pass: -out signature data
    plain_openssl dgst -sha256 -verify "$2" -signature signature data > verified ||
        fail "$1: $(cat verified)"
}
wrap() { # NAME PARENT.pub KEY-TYPE [ARGUMENT...]: a software key, wrapped: NAME.tpm, .priv, .seed
    local name=$1 parent=$2
    case $3 in
        ecc) plain_openssl ecparam -name prime256v1 -genkey -noout -out "$name.key" ;;
        rsa) plain_openssl genrsa -out "$name.key" 2048 2> out ;;
    esac
    plain_openssl pkey -in "$name.key" -pubout -out "$name.pub"
    tpm_tool tpm2_duplicate --tcti none -U "$parent" -G "$3" -k "$name.key" -u "$name.tpm" \
        -r "$name.priv" -s "$name.seed" "${@:4}"
}
importable() { # NAME PARENT [FIELD...]
    local name=$1 parent=$2
    write_tss2 "$name.pem" "$IMPORTABLE" auth=true "secret=$(hex_of "$name.seed")" "${@:3}" \
        "parent=$parent" "pub=$name.tpm" "priv=$name.priv"
}

# --- below a storage key of each kind

make_parent 0x81000001
make_parent 0x81000002 rsa
for parent in 1 2; do
    tpm_tool tpm2_readpublic -c 0x8100000$parent -o parent$parent.pub
    for kind in ecc rsa; do
        wrap $kind$parent parent$parent.pub $kind
        importable $kind$parent 0x8100000$parent
        openssl pkey -in $kind$parent.pem -pubout | cmp - $kind$parent.pub
        signs $kind$parent.pem $kind$parent.pub # (the first of a TPM's life may be asked for twice)
        forget_calls
        signs $kind$parent.pem $kind$parent.pub
        [ "$(tpm_commands 156) $(tpm_commands 157) $(tpm_commands 15d)" = '1 1 1' ] ||
            fail "$(tpm_commands 156) Import, $(tpm_commands 157) Load"
    done
done
for name in ecc1 rsa1; do
    openssl req -new -x509 -key $name.pem -subj /CN=$name -days 7 -out $name.crt
    plain_openssl verify -CAfile $name.crt $name.crt > out
done
plain_openssl pkeyutl -encrypt -pubin -inkey rsa1.pub -in data -out message
openssl pkeyutl -decrypt -inkey rsa1.pem -in message -out back
cmp data back
openssl pkey -in ecc1.pem -out again.pem # as it was
cmp <(plain_openssl asn1parse -in ecc1.pem) <(plain_openssl asn1parse -in again.pem)

# --- with an auth value, and a policy

wrap guarded parent1.pub ecc -p sesame
importable guarded 0x81000001
signs "tpm2:file=$T/guarded.pem?pin-source=file:$T/auth" guarded.pub
expect_failure signs "tpm2:file=$T/guarded.pem?pin-source=file:$T/data" guarded.pub
expect_text out TPM_RC_
tpm_tool tpm2_dictionarylockout -c
trial_policy pcr.policy sha256 'tpm2_policypcr -l sha256:16'
tpm_tool tpm2_pcrread sha256:16 -o pcr.bin
wrap bound parent1.pub ecc -L pcr.policy
DIGEST=$(plain_openssl dgst -sha256 -r pcr.bin | cut -d' ' -f1)
write_tss2 bound.pem "$IMPORTABLE" auth=true \
    "policy=0x17f:$(tpm2b "$DIGEST")$(pcr_selection 000b 16)" "secret=$(hex_of bound.seed)" \
    parent=0x81000001 pub=bound.tpm priv=bound.priv
signs bound.pem bound.pub

make_parent 0x81000003 ecc mother
tpm_tool tpm2_readpublic -c 0x81000003 -o parent3.pub
wrap protected parent3.pub ecc -p sesame
importable protected 0x81000003
for session in auto hmac; do
    sed "s/^type = tpm2\$/&\nsession = $session/" openssl.cnf > session.cnf
    OPENSSL_CONF=$T/session.cnf TPM2OPENSSL_PARENT_AUTH=mother \
        signs "tpm2:file=$T/protected.pem?pin-source=file:$T/auth" protected.pub
done
expect_failure signs "tpm2:file=$T/protected.pem?pin-source=file:$T/auth" protected.pub
expect_text out "the key's parent needs an auth value"
for handle in 3 2; do # the name of the parent, where the file has it
    tpm_tool tpm2_readpublic -c 0x8100000$handle -n parent.name
    importable protected 0x81000003 "parent-name=$(hex_of parent.name)"
    export TPM2OPENSSL_PARENT_AUTH=mother
    if [ $handle = 3 ]; then
        signs "tpm2:file=$T/protected.pem?pin-source=file:$T/auth" protected.pub
    else
        expect_failure signs "tpm2:file=$T/protected.pem?pin-source=file:$T/auth" protected.pub
        expect_text out "not the parent that the key's file names"
    fi
    unset TPM2OPENSSL_PARENT_AUTH
done

# --- below the storage key that is derived from a hierarchy, of both kinds, where none is persistent

tpm_tool tpm2_evictcontrol -C o -c 0x81000001
STORAGE='restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'
tpm_tool tpm2_createprimary -C o -G ecc -c primary.ctx -a "$STORAGE"
tpm_tool tpm2_readpublic -c primary.ctx -o primary.pub
wrap derived primary.pub ecc
importable derived 0x40000001
signs derived.pem derived.pub
tpm_tool tpm2_createprimary -C o -G rsa2048 -c rsa.ctx -a "$STORAGE"
tpm_tool tpm2_readpublic -c rsa.ctx -o rsa.pub
wrap rsa-derived rsa.pub rsa
importable rsa-derived 0x40000001 rsa-parent=true
signs rsa-derived.pem rsa-derived.pub
# A storage key at the usual handle that only looks like theirs.
tpm_tool tpm2_createprimary -C e -G ecc -c other.ctx -a "$STORAGE"
tpm_tool tpm2_evictcontrol -C o -c other.ctx 0x81000001
signs derived.pem derived.pub

# --- what cannot be

expect_failure signs ecc1.pem ecc1.pub # its parent is another one now
expect_text out TPM_RC_INTEGRITY
expect_text out 'does not belong to this parent'
# ... below another RSA key the TPM cannot even read the seed
tpm_tool tpm2_createprimary -C e -G rsa2048 -c elsewhere.ctx -a "$STORAGE"
tpm_tool tpm2_readpublic -c elsewhere.ctx -o elsewhere-parent.pub
wrap elsewhere elsewhere-parent.pub ecc
importable elsewhere 0x81000002
expect_failure signs elsewhere.pem elsewhere.pub
expect_text out 'TPM2_Import: '
expect_text out 'was not wrapped for this parent (0x81000002)'
cp rsa2.tpm flipped.tpm && cp rsa2.priv flipped.priv
{ head -c 100 rsa2.seed && head -c 20 /dev/zero && tail -c +121 rsa2.seed; } > flipped.seed
importable flipped 0x81000002
expect_failure signs flipped.pem rsa2.pub
expect_text out 'or its seed is damaged'
signs rsa2.pem rsa2.pub
head -c 100 derived.priv > damaged.priv
head -c 10 /dev/zero >> damaged.priv
cp derived.tpm damaged.tpm && cp derived.seed damaged.seed
importable damaged 0x40000001
expect_failure signs damaged.pem derived.pub
expect_text out TPM_RC_
echo secret > plain
tpm_tool tpm2_create -C primary.ctx -i plain -u sealed.pub -r sealed.priv
write_tss2 sealed.pem type=2.23.133.10.1.5 auth=true parent=0x40000001 pub=sealed.pub \
    priv=sealed.priv
expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/sealed.pem" -out signature data
expect_text out 'it is sealed data (2.23.133.10.1.5) and no key; unseal it with tpm2_unseal'
# Named as a file, OpenSSL drops the reason, which the log has (hwid-provider(7), DIAGNOSTICS).
expect_failure openssl dgst -sha256 -sign sealed.pem -out signature data
expect_text out unsupported
export HWID_LOG=error:stderr
expect_failure openssl dgst -sha256 -sign sealed.pem -out signature data
expect_text out 'it is sealed data (2.23.133.10.1.5) and no key; unseal it with tpm2_unseal'
unset HWID_LOG
write_tss2 sealed.pem auth=true parent=0x40000001 pub=sealed.pub priv=sealed.priv
expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/sealed.pem" -out signature data
expect_text out 'no key pair'
cp derived.tpm none.tpm && cp derived.priv none.priv && : > none.seed
importable none 0x40000001
expect_failure openssl dgst -sha256 -sign "tpm2:file=$T/none.pem" -out signature data
expect_text out 'secret: it is no TPM2B_ENCRYPTED_SECRET'

# --- loadable keys below every hierarchy, each with an auth value, which is never sent in clear

tpm_tool tpm2_changeauth -c owner mother
tpm_tool tpm2_changeauth -c endorsement mother
tpm_tool tpm2_changeauth -c platform mother
while read -r letter handle auth; do
    tpm_tool tpm2_createprimary -C "$letter" -G ecc -c hierarchy.ctx -a "$STORAGE" \
        ${auth:+-P "$auth"}
    tpm_tool tpm2_create -C hierarchy.ctx -G ecc256 -u below.pub -r below.priv \
        -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign'
    write_tss2 below.pem auth=true description="key below $handle" "parent=$handle" \
        pub=below.pub priv=below.priv
    openssl pkey -in below.pem -pubout -out below.public
    TPM2OPENSSL_PARENT_AUTH=$auth signs below.pem below.public
    signs "tpm2:file=$T/below.pem${auth:+?parent-pin-source=file:$T/hierarchy}" below.public
    if [ -n "$auth" ]; then
        expect_failure signs below.pem below.public
        expect_text out "the key's parent needs an auth value"
    fi
done << END
o 0x40000001 mother
e 0x4000000b mother
p 0x4000000c mother
n 0x40000007
END
