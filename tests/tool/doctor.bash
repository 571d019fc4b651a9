# shellcheck shell=bash
# Sourced by the tests of hwid doctor, after tool.bash.

doctor() { # CODE OPTION...: the JSON answer is in $T/out
    local code=$1
    shift
    expect_exit "$code" hwid doctor --json "$@"
}
blames() { # ID FIX OPTION...: the first cause has that name, and its fix says FIX
    local id=$1 fix=$2
    shift 2
    doctor 1 "$@"
    [ "$(json "d['cause']['id']")" = "$id" ] || fail "not $id: $(cat "$T/out" "$T/err")"
    case $(json "d['cause']['fix']") in
        *"$fix"*) ;;
        *) fail "no fix \"$fix\": $(cat "$T/out")" ;;
    esac
    # Every place in the texts was filled, and a PIN is in none of them.
    if json "[d['cause']] + d['others']" | grep -E '\{[a-z_]+\}'; then fail "not filled: $(cat "$T/out")"; fi
    if grep -qE "(^|[^0-9])$PIN([^0-9]|\$)" "$T/out" "$T/err"; then fail "a PIN: $(cat "$T/out")"; fi
}
sees() { # TEXT: the evidence of the first cause
    case $(json "d['cause']['evidence']") in
        *"$1"*) ;;
        *) fail "no evidence \"$1\": $(cat "$T/out")" ;;
    esac
}
alone() { # nothing else is reported
    [ "$(json "len(d['others'])")" = 0 ] || fail "not alone: $(cat "$T/out")"
}
others() { # ID...: what is reported behind the first cause
    [ "$(json "' '.join(o['id'] for o in d['others'])")" = "$*" ] || fail "others: $(cat "$T/out")"
}
healthy() { # OPTION...: nothing is blamed, and it is said in one line
    doctor 0 "$@"
    [ "$(json "d['healthy']")" = True ] || fail "$(cat "$T/out")"
    expect_exit 0 hwid doctor "$@"
    [ "$(wc -l < "$T/out")" = 1 ] || fail "not one line: $(cat "$T/out")"
    [ ! -s "$T/err" ] || fail "$(cat "$T/err")"
    expect_text "$T/out" 'nothing is broken'
}
edited() { # FILE EDIT...: $T/edited.cnf is FILE after these sed commands, which must change it
    local file=$1 edit edits=()
    shift
    for edit in "$@"; do edits+=(-e "$edit"); done
    sed "${edits[@]}" "$file" > "$T/edited.cnf"
    if cmp -s "$file" "$T/edited.cnf"; then fail "nothing was changed: $*"; fi
}
