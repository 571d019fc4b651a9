#!/bin/bash
# row.sh WORLD FORM ROW: one row of the matrix; `row.sh --list` prints ROW FORMS of all. WORLD: softhsm,
# tpm2-pkcs11 or tpm, each of them with -rsa where the key is RSA; or another-ca or another-name, where a
# client with a key in SoftHSM meets a server that is not its own. Ends with 77 where a program is not
# installed, with 78 where it cannot do that, with 79 where it is known to come to that server; the last
# line says why.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tls/credentials.bash
. "$HWID_TESTS_DIR/tls/credentials.bash"
# shellcheck source=tests/interop/interop.bash
. "$HWID_TESTS_DIR/interop/interop.bash"
for kind in clients servers tools; do
    # shellcheck source=/dev/null
    . "$HWID_TESTS_DIR/interop/$kind.bash"
done

if [ "${1:-}" = --list ]; then
    for id in "${ROWS[@]}"; do echo "$id ${ROW_FORMS[$id]}"; done
    exit
fi
if [ $# != 3 ] || [ -z "${ROW_FORMS[$3]:-}" ]; then fail "usage: row.sh WORLD FORM ROW; see row.sh --list"; fi
for need in ${ROW_NEEDS[$3]}; do has "$need" || skip "$need is not installed"; done
usage=client
if [[ $3 = server_* ]]; then usage=server; fi
case $1 in
    another-*)
        credentials_in softhsm "$2" "$usage"
        another_server "$1" "$3"
        ;;
    *) credentials_in "$1" "$2" "$usage" ;;
esac
"$3"
[ "$RECIPES" -gt 0 ] || fail "$3 uses no recipe of hwid-programs(7)"
