# shellcheck shell=bash
# Sourced by the tests of hwid doctor, after tool.bash.

doctor() { # CODE OPTION...: the JSON answer is in $T/out, and in $T/answer what the others read
    local code=$1
    shift
    expect_exit "$code" hwid doctor --json "$@"
    python3 -c '
import json, re, sys
d = json.load(open(sys.argv[1]))
broken = [d["cause"]] + d["others"] if d["cause"] else d["others"]
all = broken + d["risks"]
assert d["healthy"] == (not broken) == (d["cause"] is None) == (sys.argv[2] == "0"), sys.argv[2]
assert [c["weight"] for c in all] == ["broken"] * len(broken) + ["risk"] * len(d["risks"])
first = all[0] if all else {"id": "", "fix": "", "evidence": ""}
print(d["healthy"], first["id"], first["fix"], first["evidence"], sep="\n")
print(*[other["id"] for other in all[1:]])
print(re.findall(r"\{\W?[a-z_]+\W?\}", json.dumps(all)))
' "$T/out" "$EXIT" > "$T/answer" || fail "$(cat "$T/out" "$T/err")"
    read_answer
}
read_answer() { # also of a doctor in a subshell
    local lines
    mapfile -t lines < "$T/answer"
    [ ${#lines[@]} = 6 ] || fail "$(cat "$T/out" "$T/err")"
    HEALTHY=${lines[0]} CAUSE=${lines[1]} FIX=${lines[2]} EVIDENCE=${lines[3]}
    OTHERS=${lines[4]} UNFILLED=${lines[5]}
}
blames() { # ID FIX OPTION...: the first cause or, if there is none, risk has that name, and its fix
    # says FIX
    local id=$1 fix=$2
    shift 2
    doctor 0,1 "$@"
    [ "$CAUSE" = "$id" ] || fail "not $id: $(cat "$T/out" "$T/err")"
    [[ $FIX = *"$fix"* ]] || fail "no fix \"$fix\": $(cat "$T/out")"
    # Every place in the texts was filled, and a PIN is in none of them.
    [ "$UNFILLED" = '[]' ] || fail "not filled: $(cat "$T/out")"
    if grep -qE "(^|[^0-9])$PIN([^0-9]|\$)" "$T/out" "$T/err"; then fail "a PIN: $(cat "$T/out")"; fi
}
sees() { # TEXT: the evidence of the first cause
    read_answer
    [[ $EVIDENCE = *"$1"* ]] || fail "no evidence \"$1\": $(cat "$T/out")"
}
alone() { # nothing else is reported
    read_answer
    [ -z "$OTHERS" ] || fail "not alone: $(cat "$T/out")"
}
others() { # ID...: what is reported behind the first cause
    read_answer
    [ "$OTHERS" = "$*" ] || fail "others: $(cat "$T/out")"
}
healthy() { # OPTION...: nothing is blamed, and it is said in one line
    doctor 0 "$@"
    [ "$HEALTHY$CAUSE" = True ] || fail "$(cat "$T/out")"
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
