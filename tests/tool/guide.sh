#!/bin/bash
# doc/guide.md, run as it is written: each section in a directory and a home of its own.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/cloud.bash
. "$HWID_TESTS_DIR/tool/cloud.bash"
GUIDE=$HWID_TESTS_DIR/../doc/guide.md

# A section as a script: a block of conf is the file whose name is the line before it. With a FILE
# that block alone. What is of the guide's machine is made this one's: where SoftHSM is, ports that
# are free here, and a stand-in for the cloud of the section.
cat > "$T/section.py" <<'PY'
import re, sys
guide, title = open(sys.argv[1], encoding="utf-8").read(), sys.argv[2]
text = re.search(r"^## " + re.escape(title) + r"\n(.*?)(?=^## |\Z)", guide, re.M | re.S)[1]
for name, kind, block in re.findall(r"(?:^([\w.]+)\n\n)?^```(\w+)\n(.*?)^```$", text, re.M | re.S):
    if len(sys.argv) > 3:
        if name == sys.argv[3]:
            print(block)
    elif kind == "conf":
        print(f"cat > {name} <<'END_OF_FILE'\n{block}END_OF_FILE")
    else:
        print(block)
PY
mapfile -t TITLES < <(sed -n 's/^## //p' "$GUIDE")
[ ${#TITLES[@]} -ge 8 ] || fail "sections are missing: ${TITLES[*]}"
# What is in another block would not be run.
python3 - "$GUIDE" > "$T/others" <<'PY'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
text = re.sub(r"^```(sh|conf)\n.*?^```$", "", text, flags=re.M | re.S)
print("\n".join(re.findall(r"^(?:    |\t|```).*", text, re.M)), end="")
PY
[ ! -s "$T/others" ] || fail "lines in no block of sh or conf: $(cat "$T/others")"

MISSING=()
without() { # PROGRAM...: true, and says so, where one is missing
    local program
    for program in "$@"; do
        if ! command -v "$program" > /dev/null; then
            echo "skipped: $program is not installed"
            MISSING+=("$program")
            return 0
        fi
    done
    return 1
}
# Its command lines, aws and az, are the stand-in's, too. AWS's cloud has the policies that the section
# writes for it.
begin_cloud() { # aws|azure TITLE
    local policies=() conf
    if [ "$1" = aws ]; then
        for conf in device fleet; do
            python3 "$T/section.py" "$GUIDE" "$2" $conf.conf > "$T/$conf.conf"
        done
        hwid aws policy --config "$T/device.conf" --account 123456789012 > "$T/policy.json"
        hwid aws policy --config "$T/fleet.conf" --account 123456789012 --claim > "$T/claim.json"
        policies=("$T/policy.json" "$T/claim.json")
    fi
    start_cloud "$1" "${policies[@]}"
    export CLOUD_DIR
}
in_force() { # how many of the certificates that AWS made are active, and have a policy
    json 'sum(1 for c in d["certificates"].values() if c["active"] and c["policies"])' \
        "$CLOUD_DIR/command_line.json"
}

# Started by root, servers become other users, who come as far as the section lets them.
if [ "$(id -u)" = 0 ]; then chmod 0711 "$T"; fi
mkdir "$T/bin"
for command in aws az; do
    printf '#!/bin/sh\nexec python3 -B %s %s "$@"\n' "$HWID_TESTS_DIR/cloud/command_line.py" \
        $command > "$T/bin/$command"
    chmod 0755 "$T/bin/$command"
done
export OPENSSL_MODULES=$HWID_MODULE_DIR PATH=$T/bin:$HWID_TOOLS_DIR:$HWID_SAMPLES_DIR:$PATH:/usr/sbin
# An ordinary user of Debian's has nothing of sbin in it.
USERS_PATH=$T/bin:$HWID_TOOLS_DIR:$HWID_SAMPLES_DIR:/usr/local/bin:/usr/bin:/bin
mqtt=$(free_port) https=$(free_port)
CLOUD_PORT='' # of the section's cloud
here() { # what a section says, for this machine
    local cloud=()
    if [ -n "$CLOUD_PORT" ]; then
        cloud=(-e "s/xxxxxxxx-ats.iot.eu-central-1.amazonaws.com/localhost:$CLOUD_PORT/"
            -e "s/global.azure-devices-provisioning.net/localhost:$CLOUD_PORT/")
    fi
    sed -e "s|/usr/lib/softhsm/libsofthsm2.so|$HWID_SOFTHSM_MODULE|" \
        -e "s/8883/$mqtt/g; s/8443/$https/g" "${cloud[@]}" \
        -e "s|https://www.amazontrust.com/repository/AmazonRootCA1.pem|file://$T/AmazonRootCA1.pem|" \
        -e "s|/etc/ssl/certs/ca-certificates.crt|$T/cloud.pem|"
}
run_section() { # TITLE
    local home=$T/home-${1//[^a-zA-Z0-9]/-}
    mkdir -p "$home/work"
    {
        echo 'set -e'
        # One that goes into the background does not say when it listens.
        echo '/usr/sbin/mosquitto() { command /usr/sbin/mosquitto "$@" && wait_until_it_listens; }'
        echo "wait_until_it_listens() {
            for _ in {1..200}; do
                if (: < /dev/tcp/localhost/$mqtt) 2> /dev/null; then return; fi
                sleep 0.05
            done
        }"
        # Whom the workers are that have served it.
        echo "curl() { command curl \"\$@\" && if [ -e nginx.pid ]; then
            ps -o user= --ppid \"\$(cat nginx.pid)\" > $home/workers; fi; }"
        python3 "$T/section.py" "$GUIDE" "$1" | here
    } > "$home/section.sh"
    local code=0
    (cd "$home/work" && HOME=$home PATH=$USERS_PATH bash "$home/section.sh") \
        > "$home/out" 2>&1 < /dev/null || code=$?
    # What it left running.
    local pid_file pid
    for pid_file in "$home"/work/*.pid "$home"/work/run/*.pid "$home"/.local/share/hwid/tpm/swtpm.pid; do
        if pid=$(cat "$pid_file" 2> /dev/null); then stop_daemon "$pid"; fi
    done
    [ $code = 0 ] || fail "$1: $(cat "$home/out")"
    # What the section asks of hardware is there: only a CA's and a broker's keys are ordinary files.
    local software
    software=$(grep -rlE -e '-----BEGIN ((EC|RSA) )?PRIVATE KEY' "$home" |
        grep -vE '/work/(ca/ca|broker)\.key$' || true)
    [ -z "$software" ] || fail "$1: a key in software: $software"
}
# A section's key in hardware is made there, or not at all.
makes_none_in_software() { # TITLE
    local command
    command=$(python3 "$T/section.py" "$GUIDE" "$1" |
        awk '/^openssl genpkey/ { on = 1 } on { print } on && !/\\$/ { exit }')
    [ -n "$command" ] || fail "$1 has no openssl genpkey"
    mkdir -p "$T/nothing"
    (cd "$T/nothing" && export OPENSSL_MODULES=$T/nothing OPENSSL_CONF=$T/plain.cnf &&
        expect_failure bash -c "$command")
    [ -z "$(ls "$T/nothing")" ] || fail "$1: without the module: $(head "$T"/nothing/*)"
}

for title in "${TITLES[@]}"; do
    case $title in
        *TPM* | *tpm2*) if without swtpm; then continue; fi ;;
        *broker*) if without mosquitto; then continue; fi ;;
        *nginx*) if without nginx curl; then continue; fi ;;
        'AWS IoT Core' | Azure*) if without "$HWID_CLOUD_DIR/hwid-test-cloud" curl; then continue; fi ;;
    esac
    echo "== $title"
    CLOUD_PORT=''
    case $title in
        'AWS IoT Core')
            begin_cloud aws "$title"
            cp "$T/cloud.pem" "$T/AmazonRootCA1.pem"
            run_section "$title"
            [ "$(in_force)" = 2 ] || fail "$(cat "$CLOUD_DIR/command_line.json")"
            ;;
        Azure*)
            begin_cloud azure "$title"
            run_section "$title"
            ;;
        nginx*)
            run_section "$title"
            if [ "$(id -u)" = 0 ] && grep -v '^www-data$' "$T"/home-nginx*/workers; then
                fail 'workers of another user'
            fi
            ;;
        *pkcs11-provider | *tpm2-openssl)
            run_section "$title"
            makes_none_in_software "$title"
            ;;
        *) run_section "$title" ;;
    esac
done
[ ${#MISSING[@]} = 0 ] || skip "sections that need ${MISSING[*]}; all others passed"
