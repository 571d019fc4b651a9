#!/bin/bash
# Where nobody names a TPM, tpm2-tss asks tpm2-abrmd over D-Bus first. It is not there, and a program
# that forks cannot ask again: the child goes where the parent found its TPM. In a network of the
# test's own, as swtpm's default port is one for all.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
PYTHON=/usr/bin/python3
if [ "${1:-}" != alone ]; then
    $PYTHON -c 'import ssl; assert ssl.OPENSSL_VERSION_INFO >= (3,)' 2> /dev/null ||
        skip "$PYTHON has no ssl module with OpenSSL 3"
    if [ -e /dev/tpmrm0 ] || [ -e /dev/tpm0 ]; then skip "this machine has a TPM"; fi
    need swtpm tpm2_createprimary dbus-daemon unshare ip
    own=(env -u LD_PRELOAD unshare --net --map-root-user)
    "${own[@]}" ip link set lo up 2> /dev/null || skip "no network of its own can be made here"
    "${own[@]}" env LD_PRELOAD="${LD_PRELOAD:-}" bash "$0" alone
    exit
fi
ip link set lo up
HWID_WORLD=tpm TPM_PORT=2321
make_token line rsa:2048,label=rsa ec:P-256,label=ec
start_bus
HWID_CONF_TCTI='' make_conf "$T/openssl.cnf" default-first line \
    "keys.rsa=$(key_uri line rsa)" "keys.ec=$(key_uri line ec)"
export OPENSSL_CONF=$T/openssl.cnf
cd "$T"
make_ca ca
issue_cert ca server server ec:P-256
port=$(free_port)
start_daemon server.log "port_answers $port" env OPENSSL_CONF=plain.cnf openssl s_server \
    -accept "127.0.0.1:$port" -www -cert server.pem -key server.key -CAfile ca.pem -Verify 1 \
    -verify_return_error
for key in rsa ec; do
    openssl req -new -key hwid:$key -subj /CN=device-$key -out $key.csr
    issue_cert ca $key both $key.csr
    openssl pkey -in hwid:$key -out $key.ref
    $PYTHON "$HWID_TESTS_DIR/tpm/fork.py" "$port" $key
done
