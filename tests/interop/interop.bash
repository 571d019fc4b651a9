# shellcheck shell=bash disable=SC2034  # row.sh and the rows use what is set here
# Sourced by row.sh, after fixture/lib.sh and tls/credentials.bash: what a row is, where its keys are,
# and what rows have in common.
#
# A row is declared by `row KIND NAME FORMS NEED...`, and is the function KIND_NAME. KIND: client,
# server or tool. FORMS, how it can be told its key: file (a key reference), uri, or file,uri; or token, where
# it goes past OpenSSL. NEED: a program, or LANGUAGE:MODULE; where one is missing the row is skipped.
# What a program cannot do in a world or form, whatever is installed, the row says with `cannot`; to which
# server that is not its own a client comes all the same, `takes`.

declare -A ROW_FORMS ROW_NEEDS ROW_TAKES
ROWS=()
row() { # KIND NAME FORMS NEED...
    local id=$1_$2
    ROWS+=("$id")
    ROW_FORMS[$id]=$3
    shift 3
    ROW_NEEDS[$id]=$*
}
takes() { # another-ca|another-name ROW REASON: a client that comes to such a server all the same
    ROW_TAKES[$2 $1]=$3
}
cannot() { # REASON, a sentence: ends the row; it stands in the table
    printf '%s\n' "$*"
    exit 78
}
has() { # NEED
    case $1 in
        python3:*) python3 -c "import ${1#*:}" 2> /dev/null ;;
        perl:*) perl -e "use ${1#*:}" 2> /dev/null ;;
        lua5.3:*) lua5.3 -e "require '${1#*:}'" 2> /dev/null ;;
        *) command -v "$1" > /dev/null ;;
    esac
}
# Debian's own, some of them in no PATH.
PATH=/usr/bin:$PATH:/usr/sbin:$(find /usr/lib/postgresql -maxdepth 2 -name bin 2> /dev/null | sort | tail -n 1 || true)

# The third world: a TPM behind tpm2-pkcs11, which is a PKCS#11 token as any other.
tpm2_pkcs11_credentials() {
    local module key
    module=$(find /usr/lib* -name libtpm2_pkcs11.so -print -quit)
    if [ -z "$module" ]; then skip "libtpm2_pkcs11.so (libtpm2-pkcs11-1) is not installed"; fi
    start_tpm
    make_parent 0x81000001
    mkdir "$T/store"
    (umask 077 && printf '%s\n' "$PIN" > "$T/pin" && printf '%s\n' "$SO_PIN" > "$T/so-pin")
    HWID_CONF_MODULE=$module make_conf "$T/openssl.cnf" default-first chip \
        "dev.environment = TPM2_PKCS11_STORE=$T/store TPM2_PKCS11_TCTI=$TPM_TCTI TPM2_PKCS11_LOG_LEVEL=0" \
        'keys.rsa=pkcs11:token=chip;object=rsa' 'keys.ec=pkcs11:token=chip;object=ec'
    export OPENSSL_CONF=$T/openssl.cnf TSS2_LOG=all+NONE
    "$HWID_TOOLS_DIR/hwid" init token pkcs11: --label chip --so-pin-source "file:$T/so-pin" \
        --pin-source "file:$T/pin" > "$T/out"
    for key in rsa:2048 ec:P-256; do
        "$HWID_TOOLS_DIR/hwid" generate "hwid://${key%%:*}" --type $key > "$T/out"
    done
    make_ca ca
    issue_cert ca server server ec:P-256
    key_files
}

# The key's certificate is for that alone, by the request that hwid-programs(7) shows for it.
certified_for() { # client|server
    case $1 in
        client) recipe DESCRIPTION 1 csr.sh hwid://device=hwid:$DEVICE device-7=device-$DEVICE ;;
        server) recipe DESCRIPTION 2 csr.sh hwid://device=hwid:$DEVICE CN.server.example=CN=device-$DEVICE ;;
    esac
    PATH=$HWID_TOOLS_DIR:$PATH bash csr.sh > "$T/out"
    issue_cert ca "$DEVICE" asked "$T/device.csr"
    RECIPES=0 # of the row itself
}

# Sets KEY, what a program is given as its key, and CERT; the software client is client.pem. TOKEN is
# the token's label, DEVICE the key's. Of a WORLD with -rsa it is the RSA key.
credentials_in() { # WORLD FORM client|server
    WORLD=${1%-rsa} FORM=$2 TOKEN=line DEVICE=ec
    if [ "$1" != "$WORLD" ]; then DEVICE=rsa; fi
    case $WORLD in
        softhsm | tpm) HWID_WORLD=$WORLD && token_credentials ;;
        tpm2-pkcs11) TOKEN=chip && tpm2_pkcs11_credentials ;;
        *) fail "no world $1" ;;
    esac
    CERT=$T/$DEVICE.pem
    case $2 in
        file) KEY=$T/$DEVICE.ref ;;
        uri | token) KEY=hwid:$DEVICE ;;
        *) fail "no form $2" ;;
    esac
    certified_for "$3"
    cat "$CERT" "$T/$DEVICE.ref" > "$T/both.pem"
    issue_cert ca client client ec:P-256
    cp "$T/ca.pem" "$T/any-ca.pem"
    # Servers that become another user read what is no secret.
    chmod a+rX "$T" "$T"/*.pem "$T"/*.ref "$T"/*.cnf
    if [ -f "$T/softhsm2.conf" ]; then chmod a+r "$T/softhsm2.conf"; fi
    chmod 0400 "$T/pin"
}

# The row's server is none of the client's: its certificate is of a CA that the client does not know, or of
# its own CA, for a server with another name.
another_server() { # another-ca|another-name ROW
    SERVER=$1 ROW=$2
    case $1 in
        another-ca)
            make_ca stranger
            issue_cert stranger server server ec:P-256
            cat "$T/stranger.pem" >> "$T/any-ca.pem"
            ;;
        another-name)
            plain_openssl req -new -key "$T/server.key" -subj /CN=device-8 -out "$T/server.csr" \
                -addext extendedKeyUsage=serverAuth -addext subjectAltName=DNS:device-8
            issue_cert ca server asked "$T/server.csr"
            ;;
    esac
    chmod a+r "$T/server.pem"
    trap turned_away EXIT
    exec 9>&1 > "$T/row.log" 2>&1
}
# Nothing but the certificate is new to the row, which has to be why it fails: by the word of the client, or
# of the server that it sends an alert to. (An internal error is what OpenSSL sends for a program that looks at
# the name by itself.)
OF_CERTIFICATE='verif[a-z]*[ _]fail|unknown ca|certificate unknown|local issuer|verify the first certificate|alert internal error'
OF_CERTIFICATE+='|(host ?|domain )(name )?(verification failed|mismatch)|no alternative|n.t match|Certificate verification error'
turned_away() {
    local code=$? reason=${ROW_TAKES[$ROW $SERVER]:-} is_told=yes
    exec >&9 2>&1
    cat "$T/row.log"
    find "$T" -maxdepth 2 -type f \( -name '*.log' -o -name out -o -name err \) \
        -exec grep -aEiq "$OF_CERTIFICATE" {} + || is_told=no
    cleanup
    if [ $code = 77 ] || [ $code = 78 ]; then exit $code; fi
    if [ $code = 0 ] && [ -n "$reason" ]; then echo "$reason" && exit 79; fi
    if [ $code = 0 ]; then echo "FAILED: $ROW comes to a server with $SERVER" && exit 1; fi
    if [ $code -gt 128 ] && [ $code -le 192 ]; then echo "FAILED: a signal ended it (exit code $code)" && exit 1; fi
    if [ -n "$reason" ]; then echo "FAILED: it \`takes\` no server with $SERVER" && exit 1; fi
    if [ $is_told = no ]; then echo "FAILED: nobody says that the certificate is why (exit code $code)" && exit 1; fi
    exit 0
}

# By root, PIN and token become those of the user that a server becomes, and nobody else's: what
# hwid-programs(7) says under PERMISSIONS.
belongs_to() { # USER
    local file
    if [ "$(id -u)" != 0 ]; then return; fi
    for file in "$T/pin" "$T/tokens" "$T/store"; do
        if [ -e "$file" ]; then chown -R "$1:" "$file"; fi
    done
}

# What a row tells its program is what hwid-programs(7) says: block NUMBER of a section becomes $T/FILE, with
# the files and ports of the row in the place of the manual's. tests/conf/programs.sh looks that each block is used.
recipe() { # SECTION NUMBER FILE [MANUAL'S=HERE...]
    local pair script=()
    for pair in "${@:4}" /etc/hwid/device.ref.pem="$KEY" /etc/hwid/device.pem="$CERT" \
        /etc/hwid/ca.pem="$T/ca.pem" /etc/hwid/both.pem="$T/both.pem" /etc/hwid/pin="$T/pin" \
        /usr/share/doc/hwid/examples/samples="$HWID_TESTS_DIR/../samples" \
        server.example=localhost '\b'{8443,8883,5432,6379,8080}'\b'="${PORT:-}"; do
        script+=(-e "s|${pair%%=*}|${pair#*=}|g")
    done
    python3 "$HWID_TESTS_DIR/interop/recipes.py" "$1" "$2" > "$T/recipe"
    sed "${script[@]}" "$T/recipe" > "$T/$3"
    RECIPES=$((RECIPES + 1))
}
RECIPES=0
daemon_recipe() { # as recipe: a command for start_daemon, whose process is the program itself
    recipe "$@"
    sed -i '1s/^/exec /' "$T/$3"
}

# As start_daemon, of a program that goes into the background by itself, as Debian's service starts it: after it
# has loaded its key. PIDFILE is what it was told to write its number into.
start_forking() { # PIDFILE READY COMMAND...
    timeout 60 "${@:3}" > "$T/start.log" 2>&1 || fail "$3 does not start: $(cat "$T/start.log" "$T"/[!s]*.log)"
    wait_for 20 test -s "$1" || fail "$3 wrote no $1: $(cat "$T/start.log")"
    HWID_DAEMONS+=("$(cat "$1")")
    # shellcheck disable=SC2086  # the words of a command
    wait_for 20 $2 || fail "$3 is not ready in time: $(cat "$T/start.log")"
}

# A server of stock openssl is on $PORT; the program's answer is in $T/out.
page_shows_device() { expect_device "$DEVICE"; }

# A client with a software key meets the hardware key's server: its certificate, and what it says.
# Its input stays open until the answer is there.
visit() { # PATTERN [ARGUMENT...]: of s_client
    local pattern=$1 client
    shift
    if [ ! -e "$T/visit" ]; then mkfifo "$T/visit"; fi
    exec 8<> "$T/visit"
    printf 'GET / HTTP/1.0\r\nHost: localhost\r\n\r\n' >&8
    : > "$T/out"
    OPENSSL_CONF=$T/plain.cnf openssl s_client -connect "127.0.0.1:$PORT" \
        -servername localhost -verify_hostname localhost -verify_return_error \
        -CAfile "$T/ca.pem" -cert "$T/client.pem" -key "$T/client.key" "$@" \
        < "$T/visit" > "$T/out" 2>&1 &
    client=$!
    wait_for 20 answered "$pattern" "$client" || true
    exec 8>&-
    kill "$client" 2> /dev/null || true
    wait "$client" || true
    grep -q -- "$pattern" "$T/out" || fail "no \"$pattern\": $(cat "$T/out") $(tail -n 20 "$T"/[!t]*.log)"
    expect_text "$T/out" 'Verify return code: 0 (ok)'
    grep -Eq "subject=CN ?= ?device-$DEVICE" "$T/out" || fail "another certificate: $(cat "$T/out")"
}
answered() { # PATTERN PID
    grep -q -- "$1" "$T/out" || ! kill -0 "$2" 2> /dev/null
}
# Without a client's certificate nobody comes in, and the next one with a certificate does: the server is not dead.
nobody_comes_in() { # as visit
    expect_failure curl -sSf --max-time 20 --noproxy '*' --cacert "$T/ca.pem" "https://localhost:$PORT/"
    visit "$@"
}
