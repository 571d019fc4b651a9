#!/bin/bash
# hwid doctor: what can be wrong with openssl.cnf and hwid.so, one fault at a time.
# shellcheck disable=SC2016,SC2317,SC2013  # messages and sed have backticks and dollars
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/doctor.bash
. "$HWID_TESTS_DIR/tool/doctor.bash"

make_token dev rsa:2048,label=device
GOOD=$T/good.cnf
make_conf "$GOOD" default-first dev "keys.device=$(key_uri dev device)"
fault() { # ID FIX EDIT...: the good file with these edits has that cause, and no other
    local id=$1 fix=$2
    shift 2
    edited "$GOOD" "$@"
    OPENSSL_CONF=$T/edited.cnf blames "$id" "$fix"
    alone
}

# --- nothing is wrong: in every order, with and without what is of no use
for order in default-first hwid-first; do
    make_conf "$T/order.cnf" "$order" dev "keys.device=$(key_uri dev device)"
    OPENSSL_CONF=$T/order.cnf healthy
    OPENSSL_CONF=$T/order.cnf healthy --key hwid://device
done
healthy --openssl-conf "$GOOD"
edited "$GOOD" '1i nodejs_conf = init'
OPENSSL_CONF=$T/edited.cnf healthy
printf '.include %s\n' "$GOOD" > "$T/including.cnf"
OPENSSL_CONF=$T/including.cnf healthy
(cd "$T" && ln -s "$GOOD" link.cnf && OPENSSL_CONF=link.cnf healthy)

# --- nothing is configured: how to start
OPENSSL_CONF=$T/plain.cnf blames hwid-not-set-up 'hwid init softhsm'
sees "$T/plain.cnf (OPENSSL_CONF)"
printf 'openssl_conf = init\n[init]\nproviders = p\n[p]\ndefault = d\n[d]\nactivate = 1\n' > "$T/other.cnf"
OPENSSL_CONF=$T/other.cnf blames hwid-not-set-up 'hwid enable'
: > "$T/empty.cnf"
OPENSSL_CONF=$T/empty.cnf blames hwid-not-set-up 'hwid init'
# The environment alone is enough.
PKCS11_PROVIDER_MODULE=$HWID_SOFTHSM_MODULE OPENSSL_MODULES=$HWID_MODULE_DIR \
    OPENSSL_CONF=$T/plain.cnf healthy

# --- the file
OPENSSL_CONF=$T/nowhere.cnf blames conf-not-there 'unset OPENSSL_CONF'
sees 'No such file'
blames conf-not-there 'leave --openssl-conf out' --openssl-conf "$T/nowhere.cnf"
mkdir "$T/directory"
OPENSSL_CONF=$T/directory blames conf-not-there 'name one'
sees 'it is a directory'
# What nobody writes into would be waited for without end.
mkfifo "$T/fifo" "$T/fifo.yaml"
hwid() { timeout 60 "$HWID_TOOLS_DIR/hwid" "$@"; }
OPENSSL_CONF=$T/fifo blames conf-not-there 'unset OPENSSL_CONF'
sees 'it is a FIFO'
fault include-hangs 'an ordinary file' "1i .include $T/fifo"
sees "$T/edited.cnf:1: .include $T/fifo: it is a FIFO"
# By a variable, a pragma, a line that goes on: whatever way it is, the doctor does not wait.
for way in "1i dir = $T\n.include \$dir/fifo" "1i .pragma = includedir:$T\n.include fifo" \
    "1i .include \\\\\n$T/fifo"; do
    edited "$GOOD" "$way"
    OPENSSL_CONF=$T/edited.cnf blames include-hangs 'an ordinary file' --patience 2
    sees "$T/edited.cnf"
done
printf 'HOME = .\n' > "$T/ok.cnf"
edited "$GOOD" "1i dir = $T\n.include \$dir/ok.cnf"
OPENSSL_CONF=$T/edited.cnf healthy
fault conf-syntax 'mend the line' '1i .include $(nosuch'
mkdir -p "$T/included/x.cnf"
edited "$GOOD" "1i .include $T/included"
OPENSSL_CONF=$T/edited.cnf healthy
OPENSSL_CONF=$GOOD blames device-conf-unreadable 'correct the path' --config "$T/fifo"
sees 'it is a FIFO'
OPENSSL_CONF=$GOOD blames greengrass-file 'correct the path' --config "$T/fifo.yaml"
OPENSSL_CONF=$GOOD blames key-file-is-none 'hwid ref' --key "$T/fifo"
sees 'it is a FIFO'
OPENSSL_CONF=$GOOD blames certificate-unusable 'as PEM' --key hwid://device --cert "$T/fifo"
OPENSSL_CONF=$GOOD blames ca-unusable 'as PEM' --ca "$T/fifo"
hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }
OPENSSL_CONF=$GOOD blames device-conf-unreadable 'correct the path' --config "$T/nowhere.conf"
sees 'No such file'
OPENSSL_CONF=/dev/null blames hwid-not-set-up 'hwid init'
fault conf-syntax 'mend the line' '3i [unclosed'
sees "$T/edited.cnf:3"
fault include-left-out 'correct the path' '1i .include /nowhere/more.cnf'
sees "$T/edited.cnf:1: .include /nowhere/more.cnf: No such file"
printf 'HOME = .\n.include settings.cnf\n' > "$T/relative.cnf"
OPENSSL_CONF=$T/relative.cnf blames include-not-there 'working directory'
sees "$T/relative.cnf:2"
mkdir "$T/conf.d" # of a directory OpenSSL takes what is called *.cnf and *.conf
ln -s /nowhere/more.cnf "$T/conf.d/more.cnf"
ln -s /nowhere/more.txt "$T/conf.d/more.txt"
fault include-left-out 'correct the path' "1i .include $T/conf.d"
sees "$T/edited.cnf:1: .include $T/conf.d/more.cnf: No such file"
rm "$T/conf.d/more.cnf"
edited "$GOOD" "1i .include $T/conf.d"
OPENSSL_CONF=$T/edited.cnf healthy
if can_be_nobody; then
    cp "$GOOD" "$T/closed.cnf"
    chmod 0600 "$T/closed.cnf"
    hwid() { as_nobody "$HWID_TOOLS_DIR/hwid" "$@"; }
    OPENSSL_CONF=$T/closed.cnf blames conf-unreadable "chmod a+r $T/closed.cnf"
    sees 'owner root (0)'
    # A program that becomes somebody else: OpenSSL does not look at its environment.
    cp "$HWID_TOOLS_DIR/hwid" "$T/setuid-hwid"
    chown 65534 "$T/setuid-hwid"
    chmod 4755 "$T/setuid-hwid"
    hwid() { "$T/setuid-hwid" "$@"; }
    if findmnt -n -o OPTIONS -T "$T" | grep -q nosuid; then
        echo "skipped: a setuid program: $T is mounted nosuid"
    else
        OPENSSL_CONF=$GOOD blames environment-ignored 'hwid enable'
        alone
        sees "OPENSSL_CONF=$GOOD"
        PKCS11_PROVIDER_MODULE=$HWID_SOFTHSM_MODULE blames environment-ignored User=
        sees setuid
    fi
    rm "$T/setuid-hwid"
    hwid() { "$HWID_TOOLS_DIR/hwid" "$@"; }
fi

# --- the way to hwid
fault conf-line-misspelt 'write `openssl_conf`' 's/^openssl_conf/openssl_config/'
fault conf-init-in-section 'above every [section]' '/^openssl_conf/d' '$a openssl_conf = init'
sees 'in [hwid_keys]'
fault conf-init-missing 'hwid = hwid_sect' '/^openssl_conf/d'
fault conf-section-missing 'write `openssl_conf = init`' 's/^openssl_conf = .*/openssl_conf = inti/'
fault conf-line-misspelt 'write `providers`' 's/^providers/provider/'
fault providers-not-named 'into [init]' '/^providers/d'
fault conf-section-missing 'there is a section [prov_sect]' 's/^providers = .*/providers = prov_sct/'
fault conf-section-missing '[hwid_sect]' 's/^hwid = .*/hwid = hwid_sekt/'
fault provider-name-wrong 'hwid = hwid_sect' 's/^hwid = /hwdi = /' '/^module = .*hwid.so/d'
fault provider-not-listed 'write `hwid = hwid_sect` into [prov_sect]' '/^hwid = /d'
fault provider-not-activated 'activate = 1' '/^\[hwid_sect\]/,$s/^activate = 1//'
sees 'no line `activate`'
fault provider-not-activated 'into [hwid_sect]' '/^\[hwid_sect\]/,$s/^activate = 1/activate = 0/'
sees '`activate = 0`'
fault provider-not-activated 'activate' '/^\[hwid_sect\]/,$s/^activate/actviate/'
sees 'actviate'
fault default-provider-missing 'default = default_sect' '/^default = /d'
sees 'does not name the default provider'
fault default-provider-missing 'activate = 1' '/^\[default_sect\]/,/^\[hwid/s/^activate = 1//'
fault nodejs-conf-elsewhere 'nodejs_conf = init' '1i nodejs_conf = node' '$a [node]'

# --- hwid.so
module() { # FILE: an edit that makes it the provider's module
    printf 's|^module = .*/hwid.so|module = %s|' "$1"
}
fault provider-module-missing "module = $HWID_MODULE_DIR/hwid.so" "$(module /nowhere/hwid.so)"
sees 'No such file'
mkdir "$T/modules"
edited "$GOOD" "$(module hwid.so)"
OPENSSL_MODULES=$T/modules OPENSSL_CONF=$T/edited.cnf blames provider-module-missing 'write `module'
sees "in OPENSSL_MODULES"
OPENSSL_MODULES=$HWID_MODULE_DIR OPENSSL_CONF=$T/edited.cnf healthy
echo text > "$T/modules/hwid.so"
fault provider-module-architecture 'correct `module`' "$(module "$T/modules/hwid.so")"
sees 'no library'
# The same file for another machine: e_machine is at byte 18.
for machine in '\267\0' '\3\0'; do
    cp "$HWID_MODULE_DIR/hwid.so" "$T/modules/hwid.so"
    # shellcheck disable=SC2059  # the bytes
    printf "$machine" | dd of="$T/modules/hwid.so" bs=1 seek=18 conv=notrunc status=none
    fault provider-module-architecture 'for this machine' "$(module "$T/modules/hwid.so")"
done
fault provider-module-not-hwid 'belongs into the section' "$(module "$HWID_SOFTHSM_MODULE")"
cp "$HWID_SOFTHSM_MODULE" "$T/modules/hwid.so"
fault provider-module-is-none 'name hwid.so' "$(module "$T/modules/hwid.so")"
sees OSSL_provider_init
# It wants a library that is not there.
python3 - "$HWID_MODULE_DIR/hwid.so" "$T/modules/hwid.so" << 'END'
import sys
data = open(sys.argv[1], "rb").read()
assert b"\0libp11-kit.so.0\0" in data
open(sys.argv[2], "wb").write(data.replace(b"\0libp11-kit.so.0\0", b"\0libp11-kit.so.9\0"))
END
fault provider-module-unloadable 'install the library that it needs' "$(module "$T/modules/hwid.so")"
sees libp11-kit.so.9
mkdir "$T/unloadable"
mv "$T/modules/hwid.so" "$T/unloadable/hwid.so"
# It wants symbols of an OpenSSL that is not this one.
python3 - "$HWID_MODULE_DIR/hwid.so" "$T/modules/hwid.so" << 'END'
import sys
data = open(sys.argv[1], "rb").read()
assert b"\0OPENSSL_3.0.0\0" in data
def elf_hash(name):
    h = 0
    for c in name:
        h = (h << 4) + c
        g = h & 0xf0000000
        h = (h ^ (g >> 24)) & ~g & 0xffffffff
    return h.to_bytes(4, "little")
data = data.replace(b"\0OPENSSL_3.0.0\0", b"\0OPENSSL_9.0.0\0")
data = data.replace(elf_hash(b"OPENSSL_3.0.0"), elf_hash(b"OPENSSL_9.0.0"))
open(sys.argv[2], "wb").write(data)
END
fault provider-module-other-openssl 'build hwid on this machine' "$(module "$T/modules/hwid.so")"
sees OPENSSL_9.0.0

# --- another part of openssl.cnf, for which OpenSSL drops it all
fault provider-refuses 'what the message names' 's/^providers = .*/&\nalg_section = algs/' \
    '$a [algs]\ndefault_propertys = provider=hwid'
sees 'unknown option (name=default_propertys'
fault provider-refuses 'what the message names' 's/^providers = .*/&\nssl_conf = ssl/'

# --- settings
fault conf-key-misspelt 'write `pin-source`' 's/^pin-source/pin-sorce/'
sees 'in [hwid_dev]'
fault conf-key-misspelt 'write `pin-source`' 's/^pin-source/pin_source/'
fault conf-key-misspelt 'write `backends`' 's/^backends/backend/'
fault conf-key-misspelt 'write `module`' "/^\[hwid_dev\]/,\$s/^module/modul/"
fault conf-key-misspelt 'write `keys`' 's/^keys = /key = /'
edited "$GOOD" "s/^pin-source.*/pim = $PIN/"
OPENSSL_CONF=$T/edited.cnf blames conf-key-misspelt 'write `pin`' # and not its value
fault conf-key-unknown 'take the line away' '/^\[hwid_dev\]/a frobnicate = 7'
fault backends-not-named 'write `backends = dev`' '/^backends/d'
fault backend-not-searched 'write `backends = dev spare`' 's/^backends = dev/&\nspare = spare_sect/' \
    '$a [spare_sect]\ntype = pkcs11'
fault conf-value-wrong 'as the message says' 's/^type = pkcs11/type = pkcs1/'
sees 'unknown backend type'
fault conf-value-wrong 'write [hwid_dev], which is there' 's/^dev = .*/dev = hwid_div/'
fault conf-value-wrong 'as the message says' '/^\[hwid_sect\]/a log = loud:stderr'
sees 'not a log setting'
fault conf-value-wrong 'as the message says' '/^\[hwid_dev\]/a max-sessions = many'
# A section that has the name of a value: OpenSSL takes the one for the other.
fault conf-value-is-section 'give the section [syslog] another name' '/^\[hwid_sect\]/a audit = syslog' \
    '$a [syslog]\nfacility = local0'
sees '`audit = syslog` in [hwid_sect]'
fault conf-value-is-section 'give the section [dev] another name' \
    '$a [dev]\nfrobnicate = 1'
sees '`backends = dev` in [hwid_sect]'
fault conf-value-is-section 'give the section [never] another name' \
    '/^\[hwid_dev\]/a login-behavior = never' '$a [never]\nfrobnicate = 1'
sees '`login-behavior = never` in [hwid_dev]'
edited "$GOOD" '/^\[hwid_dev\]/a pin = syslog' '$a [syslog]\nfacility = local0'
OPENSSL_CONF=$T/edited.cnf healthy # a PIN is not told of so: it would be shown
HWID_LOG=loud:stderr OPENSSL_CONF=$GOOD blames log-variable-wrong 'unset it'

# Every setting of the example and of the provider's readers is known.
sed -n 's/^# \([a-z0-9_-]* =\)/\1/p' "$HWID_TESTS_DIR/../conf/openssl.cnf" > "$T/example"
[ "$(wc -l < "$T/example")" -gt 30 ] || fail "$(cat "$T/example")"
sed -e 's/^# \([a-z0-9_-]* =\)/\1/' "$HWID_TESTS_DIR/../conf/openssl.cnf" > "$T/all.cnf"
expect_exit 1 hwid doctor --json --openssl-conf "$T/all.cnf"
if grep -E 'conf-key-(unknown|misspelt)' "$T/out"; then fail "$(cat "$T/out")"; fi
for key in $(sed -n 's/.*"\([a-z][a-z0-9_-]*\)".*/\1/p' "$HWID_TESTS_DIR/../provider/core/config.cpp" |
    grep -xE 'pkcs11[-_].*|debug_level|init_args|force_login' | sort -u); do
    edited "$GOOD" "/^\[hwid_sect\]/a $key = 1"
    expect_exit 0,1 hwid doctor --json --openssl-conf "$T/edited.cnf"
    if grep -E 'conf-key-(unknown|misspelt)' "$T/out"; then fail "$key: $(cat "$T/out")"; fi
done

# --- what stands in the way of a URI
mkdir "$T/cwd"
URI=$(key_uri dev device)
(
    cd "$T/cwd"
    touch "$URI" hwid:device
    OPENSSL_CONF=$GOOD blames uri-shadowed 'pkcs11://token=dev' --key "$URI"
    OPENSSL_CONF=$GOOD blames uri-shadowed 'write `hwid://device`' --key hwid:device
    sees "$T/cwd"
    OPENSSL_CONF=$GOOD healthy --key hwid://device
)
OPENSSL_CONF=$GOOD blames uri-wrong 'as the message says' --key 'pkcs11:tokn=dev;object=device'

# --- device.conf
printf 'endpoint = mqtts://localhost\nkey = hwid://device\n' > "$T/device.conf"
sed 's/^key/kye/' "$T/device.conf" > "$T/wrong.conf"
OPENSSL_CONF=$GOOD blames device-conf-wrong 'write `key`' --config "$T/wrong.conf"
sees "$T/wrong.conf:2"

# --- two at once: the earlier is told, and its consequences are not
both() { # ID EDIT...
    local id=$1
    shift
    edited "$GOOD" "$@"
    OPENSSL_CONF=$T/edited.cnf blames "$id" ''
    alone
}
both conf-init-in-section '/^openssl_conf/d' '$a openssl_conf = init' 's/^type = pkcs11/type = x/'
both provider-not-activated '/^\[hwid_sect\]/,$s/^activate = 1//' 's/^pin-source/pin-sorce/'
both conf-key-misspelt 's/^pin-source/pin-sorce/' '/^\[hwid_sect\]/a log = loud:stderr'
both provider-module-missing "$(module /nowhere/hwid.so)" '/^backends/d'
both provider-refuses 's/^providers = .*/&\nssl_conf = ssl/' 's/^pin-source/pin-sorce/'
both provider-module-unloadable "$(module "$T/unloadable/hwid.so")" '/^\[hwid_sect\]/a audit = syslog' \
    '$a [syslog]\nfacility = local0'
both conf-value-is-section '/^\[hwid_sect\]/a audit = syslog' '$a [syslog]\nfacility = local0' \
    's/^type = pkcs11/type = x/'

# --- for people
edited "$GOOD" 's/^pin-source/pin-sorce/'
expect_exit 1 hwid doctor --openssl-conf "$T/edited.cnf"
expect_text "$T/out" 'cause: openssl.cnf: the setting pin-sorce is unknown'
expect_text "$T/out" '[conf-key-misspelt]'
expect_text "$T/out" 'did you mean pin-source?'

# --- the manual is the table
hwid doctor --causes > "$T/troubleshooting.md"
for id in $(sed -n 's/^### //p' "$T/troubleshooting.md"); do # of each row a fault is seeded
    grep -qE "^[^#]*[ :]$id( |\$)" "$HWID_TESTS_DIR"/tool/doctor_*.sh || fail "no test of $id"
done
diff "$HWID_TESTS_DIR/../doc/troubleshooting.md" "$T/troubleshooting.md" ||
    fail "doc/troubleshooting.md: write it anew: hwid doctor --causes > doc/troubleshooting.md"
