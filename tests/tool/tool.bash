# shellcheck shell=bash
# Sourced by the tests of the hwid command, after fixture/lib.sh.
: "${HWID_TOOLS_DIR:?}"
export XDG_STATE_HOME=$T/state # where changes of PINs are recorded

hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }

expect_exit() { # CODE[,CODE] COMMAND...: what it prints is left in $T/out and $T/err, its code in EXIT
    local wanted=$1 code=0
    shift
    ("$@") > "$T/out" 2> "$T/err" < /dev/null || code=$?
    # shellcheck disable=SC2034  # of those who source this
    EXIT=$code
    [[ ",$wanted," = *",$code,"* ]] || fail "exit $code, not $wanted: $*: $(cat "$T/out" "$T/err")"
}
refused() { # CODE TEXT COMMAND...: it fails with that code, says TEXT, in one line, and prints nothing
    local wanted=$1 text=$2
    shift 2
    expect_exit "$wanted" "$@"
    expect_text "$T/err" "$text"
    [ ! -s "$T/out" ] || fail "printed: $(cat "$T/out")"
    [ "$(wc -l < "$T/err")" = 1 ] || fail "not one line: $(cat "$T/err")"
}
json() { # EXPRESSION [FILE]: of the document, as the Python variable d
    python3 -c 'import json, sys; d = json.load(open(sys.argv[2])); print(eval(sys.argv[1]))' \
        "$1" "${2:-$T/out}"
}
without_tpm() { # true, and says so, where the TPM half of a test cannot run
    if command -v swtpm > /dev/null && command -v tpm2_createprimary > /dev/null; then return 1; fi
    echo 'skipped: the TPM half: swtpm or tpm2-tools are not installed'
}

as_nobody() { # COMMAND...
    setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"
}
can_be_nobody() { # whether as_nobody runs the hwid command; opens $T for that. Says so where not
    if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null && chmod 0711 "$T" &&
        as_nobody test -x "$HWID_TOOLS_DIR/hwid" && as_nobody test -r "$HWID_MODULE_DIR/hwid.so"; then
        return 0
    fi
    echo "skipped: another user's view: needs root, setpriv, and a build that others may read"
    return 1
}
