#!/bin/bash
# Wherever the provider stands among others: software keys work as without it, the token's keys work
# in TLS, and the token is asked for nothing but its key's signatures. With HWID_WORLD=tpm the token
# is a TPM, and what is counted are its commands.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"

GROUPS_ASKED=(P-256 P-384:P-256 X25519:P-256) # a P-256 certificate wants P-256 listed in TLS 1.2
GROUPS_SEEN=('prime256v1|secp256r1|P-256' 'secp384r1|P-384' 'X25519')
REQUEST=$'GET / HTTP/1.0\r\n\r\n'

make_token line 'rsa:2048,label=rsa,id=01' 'ec:P-256,label=ec,id=02'
make_ca ca-ec
make_ca ca-rsa rsa:2048
cat "$T/ca-ec.pem" "$T/ca-rsa.pem" > "$T/cas.pem"
issue_cert ca-ec peer-ec both ec:P-256
issue_cert ca-rsa peer-rsa both rsa:2048
export HWID_CONF_MODULE=$HWID_TEST_MODULE

start_peer() { # ALGORITHM: a server without the provider, that wants a certificate
    PEER_PORT[$1]=$(free_port)
    start_daemon "$T/peer-$1.log" "port_answers ${PEER_PORT[$1]}" env OPENSSL_CONF="$T/plain.cnf" \
        openssl s_server -accept "127.0.0.1:${PEER_PORT[$1]}" -www -cert "$T/peer-$1.pem" \
        -key "$T/peer-$1.key" -CAfile "$T/cas.pem" -Verify 2 -verify_return_error
}
declare -A PEER_PORT
start_peer ec
start_peer rsa

write_conf() { # ORDER: $T/ORDER.cnf; sets MORE, what its openssl commands take besides
    local keys=("keys.rsa=$(key_uri line rsa)" "keys.ec=$(key_uri line ec)")
    MORE=()
    case $1 in
        default-first | hwid-first) make_conf "$T/$1.cnf" "$1" line "${keys[@]}" ;;
        first-by-name)
            HWID_CONF_NAME=aaa make_conf "$T/$1.cnf" hwid-first line "${keys[@]}"
            MORE=(-provider legacy)
            ;;
        preferred)
            HWID_CONF_PROPERTIES='?provider=hwid' \
                make_conf "$T/$1.cnf" default-first line "${keys[@]}"
            ;;
    esac
}

silent() { # WHAT COMMAND...: it succeeds, and not one call reaches the token
    local what=$1
    shift
    count_calls "$@" > "$T/out" 2>&1 || fail "$ORDER: $what: $(cat "$T/out")"
    [ "$(calls total)" = 0 ] || fail "$ORDER: $what made $(calls total) calls"
}
is_software_key() { # FILE TEXT: a plain program reads it
    plain_openssl pkey -in "$1" -noout -text > "$T/text"
    expect_text "$T/text" "$2"
    plain_openssl pkey -in "$1" -noout -check > /dev/null
}

software_keys() {
    cd "$T" || return
    silent genrsa openssl genrsa "${MORE[@]}" -out rsa.pem 2048
    is_software_key rsa.pem 2048
    silent 'genpkey EC' openssl genpkey "${MORE[@]}" -algorithm EC -pkeyopt group:P-384 -out ec.pem
    is_software_key ec.pem P-384
    silent 'genpkey RSA' openssl genpkey "${MORE[@]}" -algorithm RSA \
        -pkeyopt rsa_keygen_bits:2048 -out rsa2.pem
    is_software_key rsa2.pem 2048
    silent 'genpkey RSA-PSS' openssl genpkey "${MORE[@]}" -algorithm RSA-PSS \
        -pkeyopt rsa_keygen_bits:2048 -out pss.pem
    plain_openssl pkey -in pss.pem -noout -text > text
    expect_text text "PSS parameter"
    silent ecparam openssl ecparam "${MORE[@]}" -name P-256 -genkey -noout -out ec2.pem
    is_software_key ec2.pem P-256

    local key
    for key in rsa ec pss; do
        silent "$key to PKCS#8" openssl pkey "${MORE[@]}" -in $key.pem -aes256 -passout pass:x \
            -out $key.enc.pem
        silent "$key from PKCS#8" openssl pkey "${MORE[@]}" -in $key.enc.pem -passin pass:x \
            -out $key.back.pem
        cmp $key.pem $key.back.pem
    done
    for key in rsa ec; do
        echo text > message
        silent "sign with $key" openssl dgst "${MORE[@]}" -sha256 -sign $key.pem -out sig message
        plain_openssl pkey -in $key.pem -pubout -out pub.pem
        plain_openssl dgst -sha256 -verify pub.pem -signature sig message > /dev/null
        silent "verify with $key" openssl dgst "${MORE[@]}" -sha256 -verify pub.pem \
            -signature sig message
    done
    if [ -x /usr/bin/python3 ]; then
        for key in ec rsa; do
            silent "python loads $key" /usr/bin/python3 -c \
                'import ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])' "peer-$key.pem" "peer-$key.key"
        done
    else
        echo "python is not tried: no /usr/bin/python3"
    fi
    cd / || return
}

token_certificate() { # KEY: a request with the token's key, and a certificate for it
    openssl req "${MORE[@]}" -new -key "hwid:$1" -subj "/CN=$1" -out "$T/$1.csr"
    plain_openssl req -in "$T/$1.csr" -noout -verify 2> "$T/out" || fail "$ORDER: CSR of $1"
    issue_cert ca-ec "token-$1" both "$T/$1.csr"
}

expect_session() { # TLS GROUP-NUMBER: what $T/client.out shows
    if ! grep -q 'HTTP/1.0 200 ok' "$T/client.out" ||
        ! grep -q 'Verify return code: 0 (ok)' "$T/client.out" ||
        ! grep -q "TLSv1.$1, Cipher" "$T/client.out" ||
        ! grep -Eq "(Temp Key|group): .*(${GROUPS_SEEN[$2]})" "$T/client.out"; then
        fail "$ORDER: TLS 1.$1 over ${GROUPS_ASKED[$2]}: $(cat "$T/client.out")"
    fi
}
client() { # PORT TLS GROUP-NUMBER ARGUMENT...
    local port=$1 tls=$2 group=${GROUPS_ASKED[$3]}
    # TLS 1.3 does not need the certificate's own curve, and OpenSSL 3.5 would choose it.
    if [ "$tls" = 3 ]; then group=${group%%:*}; fi
    shift 3
    timeout 20 openssl s_client -connect "127.0.0.1:$port" -servername localhost -ign_eof \
        -CAfile "$T/cas.pem" -verify_return_error -"tls1_$tls" -groups "$group" "$@" \
        <<< "$REQUEST" > "$T/client.out" 2>&1 || true
}
plain_client() { OPENSSL_CONF=$T/plain.cnf client "$@"; }
other() { if [ "$1" = rsa ]; then echo ec; else echo rsa; fi; }

as_client() { # KEY
    local tls group peer=$1 port first=
    for tls in 2 3; do
        for group in 0 1 2; do
            peer=$(other "$peer")
            port=${PEER_PORT[$peer]}
            count_calls client "$port" $tls $group "${MORE[@]}" \
                -cert "$T/token-$1.pem" -key "hwid:$1"
            expect_session $tls $group
            [ "$(signatures)" = "$ONE_SIGNATURE" ] ||
                fail "$ORDER: a client's handshake made $(signatures) calls"
            # The rest is the same load of the key each time.
            [ "$(calls total)" = "${first:=$(calls total)}" ] ||
                fail "$ORDER: TLS 1.$tls, group $group: $(calls total) calls, not $first"
        done
    done
}
as_server() { # KEY
    local tls group peer=$1 port before after
    port=$(free_port)
    HWID_TEST_REPORT=$T/counts start_daemon "$T/server.log" "port_answers $port" \
        openssl s_server "${MORE[@]}" -accept "127.0.0.1:$port" -www -key "hwid:$1" \
        -cert "$T/token-$1.pem" -CAfile "$T/cas.pem" -Verify 2 -verify_return_error
    # The first one also begins the session that protects the auth value.
    if in_tpm; then plain_client "$port" 3 0 -cert "$T/peer-ec.pem" -key "$T/peer-ec.key"; fi
    for tls in 2 3; do
        for group in 0 1 2; do
            peer=$(other "$peer")
            before=$(signing_calls)
            plain_client "$port" $tls $group -cert "$T/peer-$peer.pem" -key "$T/peer-$peer.key"
            expect_session $tls $group
            after=$(signing_calls)
            [ "$after" = "$(one_signature "$before")" ] ||
                fail "$ORDER: a server's handshake: $before calls became $after"
        done
    done
    in_tpm || [ "$(calls C_CopyObject)" = 1 ] ||
        fail "$ORDER: $(calls C_CopyObject) copies of one key"
    stop_daemon "$DAEMON_PID"
    # A signal ends s_server, which cannot take its session out of a TPM then.
    if in_tpm; then tpm_tool tpm2_flushcontext --loaded-session; fi
    forget_calls
}
# A signature is C_SignInit and C_Sign, or TPM2_Sign.
if in_tpm; then ONE_SIGNATURE=1; else ONE_SIGNATURE=1,1; fi
signatures() {
    if in_tpm; then calls 15d; else echo "$(calls C_SignInit),$(calls C_Sign)"; fi
}
# The copy of the key for the second signature aside.
signing_calls() {
    if in_tpm; then
        echo "$(calls total),$(signatures)"
    else
        echo "$(($(calls total) - $(calls C_CopyObject))),$(signatures)"
    fi
}
one_signature() { # TOTAL,SIGNATURES: these after one more signature
    local total init sign
    if in_tpm; then
        IFS=, read -r total sign <<< "$1"
        echo "$((total + 1)),$((sign + 1))"
    else
        IFS=, read -r total init sign <<< "$1"
        echo "$((total + 2)),$((init + 1)),$((sign + 1))"
    fi
}

for ORDER in default-first hwid-first first-by-name preferred; do
    write_conf $ORDER
    export OPENSSL_CONF=$T/$ORDER.cnf
    if ! openssl list "${MORE[@]}" -providers > "$T/out" 2>&1; then
        if grep -q legacy "$T/out"; then
            echo "$ORDER is not tried: OpenSSL's legacy provider is not installed"
            continue
        fi
        fail "$ORDER: $(cat "$T/out")"
    fi
    software_keys
    for key in rsa ec; do
        token_certificate $key
        forget_calls
        as_client $key
        forget_calls
        as_server $key
    done
    echo "$ORDER: software keys, CSRs, and 24 handshakes"
done
