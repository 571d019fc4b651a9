#!/bin/bash
# doc/guide.md, run as it is written: each section in a directory and a home of its own.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
GUIDE=$HWID_TESTS_DIR/../doc/guide.md

# A section as a script: a block of conf is the file whose name is the line before it. What is of the
# guide's machine is made this one's: where SoftHSM is, and ports that are free here.
cat > "$T/section.py" <<'PY'
import re, sys
guide, title = open(sys.argv[1], encoding="utf-8").read(), sys.argv[2]
text = re.search(r"^## " + re.escape(title) + r"\n(.*?)(?=^## |\Z)", guide, re.M | re.S)[1]
for name, kind, block in re.findall(r"(?:^([\w.]+)\n\n)?^```(\w+)\n(.*?)^```$", text, re.M | re.S):
    if kind == "conf":
        print(f"cat > {name} <<'END_OF_FILE'\n{block}END_OF_FILE")
    else:
        print(block)
PY
titles() { sed -n 's/^## //p' "$GUIDE"; }

without() { # PROGRAM...: true, and says so, where one is missing
    local program
    for program in "$@"; do
        if ! command -v "$program" > /dev/null; then
            echo "skipped: $program is not installed"
            return 0
        fi
    done
    return 1
}

export OPENSSL_MODULES=$HWID_MODULE_DIR PATH=$HWID_TOOLS_DIR:$HWID_SAMPLES_DIR:/usr/sbin:$PATH
mqtt=$(free_port) https=$(free_port)
run_section() { # TITLE
    local home=$T/home-${1//[^a-zA-Z0-9]/-}
    mkdir -p "$home/work" "$home/tokens" "$home/.config/softhsm2"
    printf 'directories.tokendir = %s\n' "$home/tokens" > "$home/.config/softhsm2/softhsm2.conf"
    {
        echo 'set -e'
        # One that goes into the background does not say when it listens.
        echo 'mosquitto() { command mosquitto "$@" && wait_until_it_listens; }'
        echo "wait_until_it_listens() {
            for _ in {1..200}; do
                if (: < /dev/tcp/localhost/$mqtt) 2> /dev/null; then return; fi
                sleep 0.05
            done
        }"
        python3 "$T/section.py" "$GUIDE" "$1" |
            sed "s|/usr/lib/softhsm/libsofthsm2.so|$HWID_SOFTHSM_MODULE|; s/8883/$mqtt/g; s/8443/$https/g"
    } > "$home/section.sh"
    # Started by root they would become another user, who does not reach this directory.
    if [ "$(id -u)" = 0 ]; then
        sed -i 's/^env OPENSSL_CONF;/user root;\n&/; s/^listener /user root\n&/' "$home/section.sh"
    fi
    local code=0
    (cd "$home/work" && HOME=$home bash "$home/section.sh") \
        > "$home/out" 2>&1 < /dev/null || code=$?
    # What it left running.
    local pid_file
    for pid_file in "$home"/work/*.pid "$home"/.local/share/hwid/tpm/swtpm.pid; do
        if [ -e "$pid_file" ]; then stop_daemon "$(cat "$pid_file")"; fi
    done
    [ $code = 0 ] || fail "$1: $(cat "$home/out")"
}

[ "$(titles | wc -l)" -ge 8 ] || fail "sections are missing: $(titles)"
titles | while read -r title; do
    case $title in
        *TPM* | *tpm2*) if without swtpm; then continue; fi ;;
        *broker*) if without mosquitto; then continue; fi ;;
        *nginx*) if without nginx curl; then continue; fi ;;
    esac
    echo "== $title"
    run_section "$title"
done
