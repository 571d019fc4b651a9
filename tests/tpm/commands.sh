#!/bin/bash
# What users of tpm2-openssl type, with stock openssl: the module is found as `-provider tpm2` in
# OPENSSL_MODULES, TPM2OPENSSL_TCTI says where the TPM is, and no configuration knows of it.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
start_tpm
make_parent 0x81000001
mkdir "$T/modules"
ln -s "$HWID_MODULE_DIR/hwid.so" "$T/modules/tpm2.so"
export OPENSSL_CONF=$T/plain.cnf OPENSSL_MODULES=$T/modules TPM2OPENSSL_TCTI=$TPM_TCTI
cd "$T"
TPM2=(-provider tpm2 -provider default)
printf 'abcde12345abcde12345abcde12345ab' > data # as long as a SHA-256

is_tss2() { # FILE...: a key that the TPM alone can load
    local file
    for file in "$@"; do
        [ "$(head -n 1 "$file")" = '-----BEGIN TSS2 PRIVATE KEY-----' ] ||
            fail "$file: $(head -n 1 "$file")"
    done
}
signs() { # KEY [ARGUMENT...]: a signature that stock openssl verifies with the key's public half
    local key=$1
    shift
    openssl pkey "${TPM2[@]}" -in "$key" -passin pass:abc -pubout -out signer.pub
    openssl dgst "${TPM2[@]}" -sha256 -sign "$key" "$@" -out signature data 2> noise
    [ ! -s noise ] || fail "$key: $(cat noise)"
    plain_openssl dgst -sha256 -verify signer.pub -signature signature data > /dev/null
}

openssl list -providers "${TPM2[@]}" > out
expect_text out '  tpm2'
for what in -store-loaders -encoders -decoders -public-key-algorithms -random-generators \
    -key-exchange-algorithms -signature-algorithms -asymcipher-algorithms; do
    openssl list $what -provider tpm2 -verbose > out
    expect_text out '@ tpm2'
done

# Keys of every kind, printed, converted and used.
make_and_use() { # NAME GENPKEY-ARGUMENT...
    local name=$1 made
    shift
    made=$name.pem
    openssl genpkey "${TPM2[@]}" -propquery provider=tpm2 "$@" -out "$made"
    is_tss2 "$made"
    openssl pkey "${TPM2[@]}" -in "$made" -noout -text > "$name.text"
    openssl pkey "${TPM2[@]}" -in "$made" -pubout -out "$name.pub"
    plain_openssl pkey -pubin -in "$name.pub" -noout -text > out
    # PEM to DER and back, by file and from standard input: the same key.
    openssl pkey "${TPM2[@]}" -in "$made" -outform DER -out "$name.der"
    openssl pkey "${TPM2[@]}" -in "$name.der" -inform DER -out back.pem
    cmp "$made" back.pem
    openssl pkey "${TPM2[@]}" -pubout < "$made" | cmp - "$name.pub"
    openssl pkeyutl "${TPM2[@]}" -sign -inkey "$made" -rawin -in data -out signature
    plain_openssl pkeyutl -verify -pubin -inkey "$name.pub" -rawin -in data -sigfile signature > out
}
make_and_use p256 -algorithm EC -pkeyopt group:P-256
make_and_use p384 -algorithm EC -pkeyopt group:P-384 -pkeyopt digest:sha256
make_and_use rsa -algorithm RSA -pkeyopt bits:2048 -pkeyopt e:65537
make_and_use pss -algorithm RSA-PSS -pkeyopt bits:1024 -pkeyopt digest:sha256
# The public half says which digest: who verifies is not told.
make_and_use pss384 -algorithm RSA-PSS -pkeyopt digest:sha384
expect_text pss384.text 'restricted|sign; scheme TPM2_ALG_RSAPSS with TPM2_ALG_SHA384'
grep -Eiq 'hash algorithm: sha2?-?384' pss384.text || fail "no digest: $(cat pss384.text)"
expect_text p256.text 'NIST CURVE: P-256'
expect_text rsa.text 'Public-Key: (2048 bit)'
expect_text pss.text 'Public-Key: (1024 bit)'
openssl ec "${TPM2[@]}" -in p256.pem -text -noout > out 2>&1
openssl rsa "${TPM2[@]}" -in rsa.pem -modulus -noout > out
plain_openssl rsa -pubin -in rsa.pub -modulus -noout | cmp - out

# Commands that make a key on the way. (`-provider tpm2` alone means the TPM.)
openssl genrsa "${TPM2[@]}" -out genrsa.pem 2048 2> out
openssl ecparam "${TPM2[@]}" -name prime256v1 -genkey -noout -out ecparam.pem
openssl req "${TPM2[@]}" -x509 -newkey ec -pkeyopt group:P-256 -nodes -subj /CN=device -days 7 \
    -addext subjectAltName=DNS:localhost -keyout device.pem -out device.crt 2> out
is_tss2 genrsa.pem ecparam.pem device.pem
for key in genrsa ecparam device; do signs $key.pem; done
plain_openssl verify -CAfile device.crt device.crt > out

# A digest that is given, in each padding.
for padding in pkcs1 pss; do
    words=(-pkeyopt "pad-mode:$padding" -pkeyopt digest:sha256)
    openssl pkeyutl "${TPM2[@]}" -sign -inkey rsa.pem -in data "${words[@]}" -out signature
    plain_openssl pkeyutl -verify -pubin -inkey rsa.pub -in data "${words[@]}" \
        -sigfile signature > out
done

# Auth values: of the key, and of the parent, which an option or the environment tells.
openssl genpkey "${TPM2[@]}" -algorithm EC -pkeyopt group:P-256 -pkeyopt user-auth:abc -out auth.pem
is_tss2 auth.pem
signs auth.pem -passin pass:abc
openssl pkey "${TPM2[@]}" -in auth.pem -passin pass: -pubout | cmp - signer.pub
expect_failure openssl dgst "${TPM2[@]}" -sha256 -sign auth.pem -passin pass:wrong \
    -out signature data
expect_text out TPM_RC_
openssl genpkey "${TPM2[@]}" -algorithm RSA -pkeyopt bits:1024 -pkeyopt parent:0x81000001 \
    -pkeyopt user-auth:abc -out below.pem
signs below.pem -passin pass:abc
make_parent 0x81000011 ecc secret
openssl genpkey "${TPM2[@]}" -algorithm EC -pkeyopt group:P-256 -pkeyopt parent:0x81000011 \
    -pkeyopt parent-auth:secret -out guarded.pem
TPM2OPENSSL_PARENT_AUTH=secret signs guarded.pem
TPM2OPENSSL_PARENT_AUTH=secret openssl genpkey "${TPM2[@]}" -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt parent:0x81000011 -out guarded2.pem
TPM2OPENSSL_PARENT_AUTH=secret signs guarded2.pem
expect_failure openssl dgst "${TPM2[@]}" -sha256 -sign guarded.pem -out signature data
expect_text out TPM_RC_
expect_failure openssl genpkey "${TPM2[@]}" -algorithm EC -pkeyopt group:P-256 \
    -pkeyopt parent:0x81000011 -out guarded3.pem
expect_text out TPM_RC_
[ ! -s guarded3.pem ] || fail "a key below a parent that did not let it"
openssl genpkey "${TPM2[@]}" -algorithm EC -pkeyopt group:P-256 -pkeyopt parent:0x40000001 \
    -out owner.pem
signs owner.pem

# Keys at handles, in the file of tpm2_evictcontrol -o, and in a file that tpm2-tools wrote.
make_tpm_key 0x81000005 rsa:2048
make_tpm_key 0x81000006 ec:P-256 abc
signs handle:0x81000005
signs handle:0x81000006?pass -passin pass:abc
expect_failure signs handle:0x81000006
tpm_tool tpm2_create -C 0x81000001 -G ecc256 -u x.pub -r x.priv -p abc \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign'
tpm_tool tpm2_load -C 0x81000001 -u x.pub -r x.priv -c x.ctx
tpm_tool tpm2_evictcontrol -C o -c x.ctx -o x.object 0x81000007
signs object:x.object?pass -passin pass:abc
# (tpm2-tools before 5.8 turn the meaning of their -p round, and leave a session behind.)
for has_value in '' -p; do
    # shellcheck disable=SC2086  # nothing, or a word
    tpm_tool tpm2_encodeobject -C 0x81000001 -u x.pub -r x.priv -o x.pem $has_value
    tpm_tool tpm2_flushcontext --loaded-session
    if plain_openssl asn1parse -in x.pem | grep -q 'BOOLEAN *:0$'; then break; fi # emptyAuth
done
signs x.pem -passin pass:abc
# An attestation key, which signs only what the TPM itself has hashed.
tpm_tool tpm2_createek -G rsa -c ek.ctx
tpm_tool tpm2_createak -C ek.ctx -G rsa -g sha256 -s rsassa -c ak.ctx
tpm_tool tpm2_evictcontrol -C o -c ak.ctx 0x81000008
signs handle:0x81000008
openssl req "${TPM2[@]}" -x509 -subj /CN=ak -key handle:0x81000008 -days 7 -out ak.crt
plain_openssl verify -CAfile ak.crt ak.crt > out
: > empty
openssl dgst "${TPM2[@]}" -sha256 -sign handle:0x81000008 -out signature empty
plain_openssl dgst -sha256 -verify signer.pub -signature signature empty > out
# A key that is made for PSS signs nothing else, and who names no padding is told: programs would take
# what it makes for PKCS#1.
tpm_tool tpm2_create -C 0x81000001 -G rsa2048:rsapss-sha384:null -u x.pub -r x.priv \
    -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign'
tpm_tool tpm2_load -C 0x81000001 -u x.pub -r x.priv -c x.ctx
tpm_tool tpm2_evictcontrol -C o -c x.ctx 0x81000009
openssl pkey "${TPM2[@]}" -in handle:0x81000009 -pubout -out signer.pub
sign_pss=(pkeyutl "${TPM2[@]}" -sign -inkey handle:0x81000009 -rawin -in data -out signature)
openssl "${sign_pss[@]}" -pkeyopt pad-mode:pss
plain_openssl dgst -sha384 -sigopt rsa_padding_mode:pss -verify signer.pub -signature signature data > out
expect_failure openssl "${sign_pss[@]}"
expect_text out 'the key was made for TPM2_ALG_RSAPSS with TPM2_ALG_SHA384 only'
# Nor need the salt be named for a key that cannot decrypt, so that the TPM itself makes the padding.
make_tpm_key 0x8100000a rsa:2048 '' sign
openssl pkey "${TPM2[@]}" -in handle:0x8100000a -pubout -out signer.pub
openssl dgst "${TPM2[@]}" -sha256 -sigopt rsa_padding_mode:pss -sign handle:0x8100000a -out signature data
plain_openssl dgst -sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest \
    -verify signer.pub -signature signature data > out

# What leads nowhere.
head -c 10241 /dev/zero > large
for uri in bad:prefix file:unknown handle:0xBAD handle:0x81000099 object:unknown object:large; do
    expect_failure openssl pkey "${TPM2[@]}" -in $uri -noout
    grep -Eq 'Could not (open|find|read)' out || fail "$uri: $(cat out)"
done

# tpm2-openssl hashes in the TPM and is used without the default provider. Here libcrypto hashes all
# the same, also for the program, and its random numbers come from the TPM, as nobody else has any.
alone=(-provider tpm2 -provider base)
plain_openssl ecparam -name prime256v1 -out parameters.pem
openssl genpkey "${alone[@]}" -algorithm EC -pkeyopt group:P-256 -out alone-ec.pem
openssl genpkey "${alone[@]}" -paramfile parameters.pem -out alone-parameters.pem
openssl genpkey "${alone[@]}" -algorithm RSA -pkeyopt bits:2048 -out alone-rsa.pem
openssl genrsa "${alone[@]}" -out alone-genrsa.pem 2048 2> out
# Parameters by themselves, and in front of the key that is made of them.
openssl ecparam -provider tpm2 -name prime256v1 | cmp - parameters.pem
plain_openssl ecparam -in parameters.pem -outform DER -out parameters.der
openssl ecparam -provider tpm2 -name prime256v1 -outform DER | cmp - parameters.der
openssl ec "${alone[@]}" -in alone-ec.pem -param_out 2> out | cmp - parameters.pem
openssl ecparam -provider tpm2 -name prime256v1 -genkey -out both.pem
plain_openssl ecparam -in both.pem | cmp - parameters.pem
sed -n '/BEGIN TSS2/,$p' both.pem > alone-both.pem
signs both.pem
openssl ec "${alone[@]}" -in alone-ec.pem -outform DER -out ec.der 2> out
openssl pkey "${alone[@]}" -in ec.der -inform DER | cmp - alone-ec.pem
is_tss2 alone-*.pem
for key in alone-*.pem handle:0x81000005; do
    openssl pkey "${alone[@]}" -in "$key" -pubout -out alone.pub
    openssl dgst "${alone[@]}" -sha256 -sign "$key" -out signature data
    plain_openssl dgst -sha256 -verify alone.pub -signature signature data > /dev/null
    openssl pkeyutl "${alone[@]}" -sign -inkey "$key" -rawin -in data -out signature
    plain_openssl pkeyutl -verify -pubin -inkey alone.pub -rawin -in data -sigfile signature > out
done
openssl ec "${alone[@]}" -in alone-ec.pem -check -noout 2> out
expect_text out 'EC Key valid'
openssl req "${alone[@]}" -new -x509 -key alone-rsa.pem -subj /CN=alone -days 7 \
    -addext subjectKeyIdentifier=hash -out alone.crt
plain_openssl verify -CAfile alone.crt alone.crt > out
plain_openssl pkeyutl -encrypt -certin -inkey alone.crt -in data -out message
openssl pkeyutl "${alone[@]}" -decrypt -inkey alone-rsa.pem -in message -out back
cmp data back
for digest in sha1 sha224 sha256 sha384 sha512 sha3-224 sha3-256 sha3-384 sha3-512; do
    [ "$(openssl dgst "${alone[@]}" -$digest data)" = "$(plain_openssl dgst -$digest data)" ] ||
        fail "$digest"
    openssl list -digest-algorithms "${alone[@]}" | grep -qi "$digest.*@ tpm2" || fail "no $digest"
done
openssl list -digest-algorithms "${TPM2[@]}" > out
! grep '@ tpm2' out || fail "hashes where the default provider does"
forget_calls
openssl rand "${alone[@]}" -hex 16 > out
[ "$(tpm_commands 17b)" != 0 ] || fail "random numbers of whom?"

# Certificates, revocation and messages.
openssl req "${TPM2[@]}" -new -x509 -key rsa.pem -subj /CN=tpm-ca -days 30 \
    -addext basicConstraints=critical,CA:TRUE -out ca.crt
openssl req "${TPM2[@]}" -new -key p384.pem -subj /CN=from-tpm -out leaf.csr
plain_openssl req -in leaf.csr -noout -verify > out 2>&1
expect_text out 'verify OK' # the exit code does not tell
openssl x509 "${TPM2[@]}" -req -in leaf.csr -CA ca.crt -CAkey rsa.pem -set_serial 5 -days 7 \
    -extfile /dev/null -out leaf.crt 2> out # (for OpenSSL 4.0.3)
plain_openssl verify -CAfile ca.crt leaf.crt > out
printf '%s\n' '[ca]' 'default_ca = c' '[c]' 'database = index' 'default_md = sha256' \
    'default_crl_days = 7' > ca.cnf
: > index
openssl ca "${TPM2[@]}" -config ca.cnf -gencrl -keyfile rsa.pem -cert ca.crt -out ca.crl 2> out
plain_openssl crl -in ca.crl -noout -CAfile ca.crt -verify 2> out
expect_text out 'verify OK'
openssl cms -sign "${TPM2[@]}" -nodetach -md sha256 -inkey p384.pem -signer leaf.crt -in data \
    -binary -out message
plain_openssl cms -verify -in message -CAfile ca.crt -purpose any -binary -out back 2> out
cmp data back
plain_openssl cms -encrypt -aes-128-cbc -binary -in data -out message ca.crt
openssl cms -decrypt "${TPM2[@]}" -inkey rsa.pem -recip ca.crt -in message -binary -out back
cmp data back

# Decryption and agreement.
for options in rsa_padding_mode:pkcs1 'rsa_padding_mode:oaep rsa_oaep_md:sha256'; do
    words=()
    for option in $options; do words+=(-pkeyopt "$option"); done
    plain_openssl pkeyutl -encrypt -pubin -inkey rsa.pub -in data -out message "${words[@]}"
    openssl pkeyutl "${TPM2[@]}" -decrypt -inkey rsa.pem -in message -out back "${words[@]}"
    cmp data back
done
plain_openssl genpkey -algorithm EC -pkeyopt group:P-256 -out peer.pem
plain_openssl pkey -in peer.pem -pubout -out peer.pub
openssl pkeyutl "${TPM2[@]}" -derive -inkey p256.pem -peerkey peer.pub -out ours
plain_openssl pkeyutl -derive -inkey peer.pem -peerkey p256.pub -out theirs
cmp ours theirs

# TLS, both sides with a key of the TPM.
port=$(free_port)
start_daemon server.log "port_answers $port" openssl s_server "${TPM2[@]}" -www \
    -accept "127.0.0.1:$port" -key device.pem -cert device.crt -CAfile ca.crt -Verify 1 \
    -verify_return_error
for tls in 2 3; do
    timeout 20 openssl s_client "${TPM2[@]}" -connect "127.0.0.1:$port" -tls1_$tls -ign_eof \
        -CAfile device.crt -verify_return_error -verify_hostname localhost -key p384.pem \
        -cert leaf.crt <<< $'GET / HTTP/1.0\r\n\r\n' > out 2>&1 || true
    expect_text out 'Verify return code: 0 (ok)'
    grep -Eq 'Subject: CN ?= ?from-tpm' out || fail "TLS 1.$tls: $(cat out)"
done
stop_daemon "$DAEMON_PID"

# The same provider from a configuration: ordinary keys stay ordinary, what asks for the TPM gets
# it, and the TPM's random numbers are there for who names them.
unset TPM2OPENSSL_TCTI
printf '%s\n' 'openssl_conf = init' '[init]' 'providers = providers' 'random = random' \
    '[providers]' 'default = default_sect' 'tpm2 = tpm2_sect' '[default_sect]' 'activate = 1' \
    '[tpm2_sect]' 'activate = 1' "tcti = $TPM_TCTI" '[random]' > tpm2.cnf
{ cat tpm2.cnf; echo 'random = HWID-RAND'; } > random.cnf
export OPENSSL_CONF=$T/tpm2.cnf
TPM2=()
forget_calls
openssl genpkey -algorithm EC -pkeyopt group:P-256 -out soft.pem
expect_text soft.pem '-----BEGIN PRIVATE KEY-----'
openssl rand -hex 16 > out
[ "$(tpm_commands)" = 0 ] || fail "$(tpm_commands) commands for nothing of the TPM's"
openssl genpkey -propquery provider=tpm2 -algorithm EC -pkeyopt group:P-256 -out hard.pem
is_tss2 hard.pem
signs hard.pem
forget_calls
OPENSSL_CONF=random.cnf openssl rand -hex 16 > out
grep -Eqx '[0-9a-f]{32}' out || fail "no random numbers: $(cat out)"
[ "$(tpm_commands 17b)" = 1 ] || fail "$(tpm_commands 17b) times GetRandom"

# tpm2-openssl itself: each reads what the other wrote.
theirs=$(plain_openssl version -m | sed 's/.*"\(.*\)"/\1/')
if [ ! -f "$theirs/tpm2.so" ]; then
    echo "tpm2-openssl itself is not tried: no $theirs/tpm2.so"
    exit 0
fi
their() { # COMMAND ARGUMENT...
    local command=$1
    shift
    env -u LD_PRELOAD OPENSSL_MODULES="$theirs" OPENSSL_CONF=plain.cnf \
        TPM2OPENSSL_TCTI="$TPM_TCTI" openssl "$command" -provider tpm2 -provider default \
        -propquery '?provider=tpm2' "$@"
}
for algorithm in 'EC -pkeyopt group:P-256' 'RSA -pkeyopt bits:2048'; do
    for auth in '' '-pkeyopt user-auth:abc'; do
        # shellcheck disable=SC2086  # words
        their genpkey -algorithm $algorithm $auth -pkeyopt parent:0x81000001 -out theirs.pem 2> out
        signs theirs.pem ${auth:+-passin pass:abc}
        # shellcheck disable=SC2086
        openssl genpkey -propquery provider=tpm2 -algorithm $algorithm $auth -out ours.pem
        their pkeyutl -sign -inkey ours.pem ${auth:+-passin pass:abc} -in data \
            -pkeyopt digest:sha256 -out signature
        openssl pkey -in ours.pem -passin pass: -pubout -out ours.pub
        plain_openssl pkeyutl -verify -pubin -inkey ours.pub -pkeyopt digest:sha256 -in data \
            -sigfile signature > out
    done
done
