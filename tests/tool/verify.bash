# shellcheck shell=bash
# Sourced by the tests of hwid verify, after tool.bash.

is() { # EXPRESSION VALUE: of the JSON
    [ "$(json "$1")" = "$2" ] || fail "$1 is not $2 but $(json "$1"): $(cat "$T/out")"
}
check() { # ASKED: a Python expression, of that check
    printf '[c for c in d["checks"] if c["asked"] == "%s"][0]' "$1"
}
found() { # ASKED ANSWER FINDING
    is "$(check "$1")[\"answer\"] + \" \" + $(check "$1")[\"finding\"]" "$2 $3"
}
verdict() { # VERDICT CODE ARGUMENT...
    local verdict=$1 code=$2
    shift 2
    expect_exit "$code" hwid verify --json "$@"
    [ ! -s "$T/err" ] || fail "$(cat "$T/err")"
    is 'd["verdict"], d["good"]' "('$verdict', $([ "$code" = 0 ] && echo True || echo False))"
}
