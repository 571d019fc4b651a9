#!/bin/bash
# hwid enable and disable: on copies of openssl.cnf as systems have it, with what programs then do.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

code_of() { # EXPECTED COMMAND...: ends with that exit code; its output is left in $T/out
    local expected=$1 code=0
    shift
    "$@" > "$T/out" 2>&1 || code=$?
    [ "$code" = "$expected" ] || fail "exit code $code, not $expected: $*: $(cat "$T/out")"
}
fact() { # KEY: of the document in $T/out
    json "json.dumps(d['$1'])"
}
with() { # FILE COMMAND...: as a program that knows nothing of hwid
    OPENSSL_CONF=$1 "${@:2}"
}
providers() { with "$1" openssl list -providers | sed -n 's/^  \([a-z0-9]*\)$/\1/p' | xargs; }
only_file() { # FILE: nothing of ours is left beside it
    local left
    left=$(find "$(dirname "$1")" -mindepth 1 ! -name "$(basename "$1")" -printf '%f ')
    [ -z "$left" ] || fail "left beside $1: $left"
}
new() { # NAME: $F, a file alone in a directory, from standard input
    mkdir "$T/$1"
    F=$T/$1/openssl.cnf
    cat > "$F"
    cp -p "$F" "$T/$1.before"
    BEFORE=$T/$1.before
}
round_trip() { # enables and disables $F
    code_of 0 hwid enable --openssl-conf "$F"
    [ "$(providers "$F")" = 'default hwid' ] || fail "active: $(providers "$F"): $(cat "$F")"
    cp "$F" "$T/enabled"
    code_of 0 hwid enable --openssl-conf "$F"
    expect_text "$T/out" 'enabled already'
    cmp -s "$F" "$T/enabled" || fail "a second time changed it"
    cmp -s "$F.hwid-backup" "$BEFORE" || fail "the backup is not the file"
    code_of 0 hwid disable --openssl-conf "$F"
    expect_text "$T/out" 'byte for byte'
    cmp "$F" "$BEFORE" || fail "not what it was"
    only_file "$F"
    code_of 0 hwid disable --openssl-conf "$F"
    expect_text "$T/out" 'not enabled'
}

# The build may belong to somebody else, whose module root does not enable.
if [ "$(id -u)" = 0 ] && [ "$(stat -c %u "$HWID_MODULE_DIR/hwid.so")" != 0 ]; then
    mkdir -p "$T/own/tools" "$T/own/provider"
    cp "$HWID_TOOLS_DIR/hwid" "$T/own/tools"
    cp "$HWID_MODULE_DIR/hwid.so" "$T/own/provider"
    HWID_TOOLS_DIR=$T/own/tools
fi

# --- Debian's file: providers commented out, the default one active by itself alone

debian=/etc/ssl/openssl.cnf
[ -r "$debian" ] || debian=$T/plain.cnf
new debian < "$debian"
chmod 0640 "$F" "$BEFORE"
if [ "$(id -u)" = 0 ]; then chown 65534:65534 "$F"; fi
owner=$(stat -c %u:%g:%a "$F")
if command -v setfattr > /dev/null; then setfattr -n user.kept -v yes "$F" || true; fi
umask 077
code_of 0 hwid enable --openssl-conf "$F"
umask 022
expect_text "$T/out" "hwid is enabled for every program that reads $F"
expect_text "$T/out" "$F.hwid-backup"
expect_text "$T/out" 'activated by name'
expect_text "$T/out" 'openssl version, openssl rand, openssl dgst, openssl genpkey, TLS client and server'
[ "$(stat -c %u:%g:%a "$F")" = "$owner" ] || fail "owner or mode changed: $(stat -c %u:%g:%a "$F")"
if command -v getfattr > /dev/null && getfattr -n user.kept "$BEFORE" > /dev/null 2>&1; then
    getfattr -n user.kept "$F" > /dev/null || fail "an extended attribute is gone"
fi
[ "$(stat -c %a "$T/debian/hwid.cnf")" = 644 ] || fail "the fragment is not for everybody"
diff "$BEFORE" "$F" | grep '^<' && fail "lines of the file were changed"
with "$F" openssl rand -hex 8 > "$T/out"
with "$F" openssl req -new -x509 -newkey rsa:2048 -nodes -keyout "$T/k.pem" -subj /CN=x -out "$T/c.pem" \
    2> "$T/out" || fail "openssl req: $(cat "$T/out")"
code_of 0 hwid disable --openssl-conf "$F" --json
[ "$(fact enabled) $(fact changed) $(fact restored) $(fact problem)" = 'false true true null' ] ||
    fail "$(cat "$T/out")"
cmp "$F" "$BEFORE"
[ "$(stat -c %u:%g:%a "$F")" = "$owner" ] || fail "owner or mode changed by disable"
only_file "$F"
code_of 0 hwid enable --openssl-conf "$F" --json
[ "$(fact enabled) $(fact changed) $(fact default_activated) $(fact backup)" = \
    "true true true \"$F.hwid-backup\"" ] || fail "$(cat "$T/out")"
code_of 0 hwid enable --openssl-conf "$F" --json
[ "$(fact enabled) $(fact changed)" = 'true false' ] || fail "$(cat "$T/out")"

# --- the module is removed one day, or our fragment: nothing stops

mv "$T/debian/hwid.cnf" "$T/away.cnf"
[ "$(providers "$F")" = default ] || fail "without the fragment: $(providers "$F")"
sed 's|^module = .*|module = /nowhere/hwid.so|' "$T/away.cnf" > "$T/debian/hwid.cnf"
grep -q /nowhere/hwid.so "$T/debian/hwid.cnf" || fail "the fragment names no module"
[ "$(providers "$F")" = default ] || fail "without the module: $(providers "$F")"
with "$F" openssl rand -hex 8 > "$T/out"
mv "$T/away.cnf" "$T/debian/hwid.cnf"

# --- other hands change the file while it is enabled

printf 'appended = here\n' >> "$F" # by who counts on the section that the file ended in
last=$(sed -n 's/^ *\[ *\([^] ]*\) *\].*/\1/p' "$BEFORE" | tail -n 1)
sed -i "s/^\(HOME.*\)/# \1/" "$F"
code_of 0 hwid disable --openssl-conf "$F"
expect_text "$T/out" 'what others changed since is kept'
{ sed "s/^\(HOME.*\)/# \1/" "$BEFORE"; printf 'appended = here\n'; } | cmp - "$F"
[ -n "$last" ] || fail "no section in $BEFORE"
cmp "$F.hwid-backup" "$BEFORE" || fail "the backup is gone or changed"
code_of 0 hwid enable --openssl-conf "$F" # a second backup; the first is not overwritten
cmp "$F.hwid-backup" "$BEFORE"
[ -f "$F.hwid-backup.2" ] || fail "no second backup"
code_of 0 hwid disable --openssl-conf "$F"
expect_text "$T/out" 'byte for byte'
sed -i '/# hwid: end/d' "$F"

# --- other layouts

new none < /dev/null
round_trip
new no_openssl_conf < <(printf '[req]\ndistinguished_name = dn\n[dn]\n')
round_trip
new dangling < <(printf 'openssl_conf = nowhere\n')
round_trip
new crlf < <(printf 'openssl_conf = init\r\n[init]\r\nproviders = p\r\n[p]\r\ndefault = d\r\n[d]\r\n# activate = 1\r\n')
code_of 0 hwid enable --openssl-conf "$F"
if tail -n 5 "$F" | grep -qv $'\r$'; then fail "another kind of line ends: $(cat -A "$F")"; fi
code_of 0 hwid disable --openssl-conf "$F"
round_trip
new no_line_end < <(printf 'openssl_conf = init\n[init]\nproviders = p\n[p]\ndefault = d\n[d]\nactivate = 1')
round_trip
# shellcheck disable=SC1003  # printf's own
new backslash < <(printf 'openssl_conf = init\n[init]\n[x]\nlong = 1 \\\n2\\')
round_trip
new prefixed < <(printf 'openssl_conf = init\n[init]\nproviders = p\n[p]\n1.default = d\n[d]\n')
round_trip
new own_providers < <(printf 'nodejs_conf = n\nopenssl_conf = init\n[n]\n[init]\nproviders = p\n[p]\n')
round_trip

# A line that is appended later stands in the section that the file ended in.
new tail < <(printf 'openssl_conf = init\n[init]\nproviders = p\n[d]\n[l]\nactivate = 1\n[p]\ndefault = d\n')
code_of 0 hwid enable --openssl-conf "$F"
echo 'legacy = l' >> "$F"
[ "$(providers "$F")" = 'default hwid legacy' ] || fail "$(providers "$F")"

# A path in which every character is special.
new "odd \$HOME #1 'a\" b" < "$debian"
round_trip

# Another provider that is active: nothing is activated that was not.
new legacy < <(printf 'openssl_conf = init\n[init]\nproviders = p\n[p]\nlegacy = l\ndefault = d\n[l]\nactivate = 1\n[d]\nactivate = 1\n')
code_of 0 hwid enable --openssl-conf "$F"
expect_text "$T/out" 'The provider legacy is active in that file, too'
[ "$(providers "$F")" = 'default hwid legacy' ] || fail "$(providers "$F")"
if grep -q '^\[d\]' "$T/legacy/hwid.cnf"; then fail "the default provider's section was touched"; fi
code_of 0 hwid disable --openssl-conf "$F"
cmp "$F" "$BEFORE"

# One that is broken already is left alone.
new broken < <(printf 'openssl_conf = init\n[init]\nproviders = p\n[p]\nlegacy = l\n[l]\nactivate = 1\n')
code_of 3 hwid enable --openssl-conf "$F"
expect_text "$T/out" 'without hwid, too, this fails: openssl rand'
cmp "$F" "$BEFORE"
only_file "$F"
new syntax < <(printf '[unclosed\n')
code_of 3 hwid enable --openssl-conf "$F"
expect_text "$T/out" "$F:1"
cmp "$F" "$BEFORE"
only_file "$F"

# hwid is there already, by the administrator's own hand.
new by_hand < <(printf 'openssl_conf = i\n[i]\nproviders = p\n[p]\nhwid = h\ndefault = d\n[d]\nactivate = 1\n[h]\nactivate = 1\nmodule = %s/hwid.so\n' "$HWID_MODULE_DIR")
code_of 0 hwid enable --openssl-conf "$F"
expect_text "$T/out" 'its own section [h]'
sed -i '/^\[h\]/,$ s/^activate.*//' "$F"
code_of 1 hwid enable --openssl-conf "$F"
expect_text "$T/out" 'activate = 1'

# A link (Debian's default is one): what it leads to is changed, and the link stays.
new linked < "$debian"
mkdir "$T/links"
ln -s "$F" "$T/links/openssl.cnf"
code_of 0 hwid enable --openssl-conf "$T/links/openssl.cnf"
[ -L "$T/links/openssl.cnf" ] || fail "the link was replaced"
[ "$(providers "$T/links/openssl.cnf")" = 'default hwid' ] || fail "not through the link"
only_file "$T/links/openssl.cnf"
code_of 0 hwid disable --openssl-conf "$T/links/openssl.cnf"
cmp "$F" "$BEFORE"

# A fault that the checks find: the file is as it was.
mkdir "$T/modules"
cp "$HWID_SOFTHSM_MODULE" "$T/modules/hwid.so"
code_of 3 env OPENSSL_MODULES="$T/modules" "$HWID_TOOLS_DIR/hwid" enable --openssl-conf "$F"
expect_text "$T/out" 'the file is as it was'
cmp "$F" "$BEFORE"
only_file "$F"

# No right to write.
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null && [ -z "${HWID_PRELOAD:-}" ]; then
    chmod 0755 "$T" "$T/linked"
    chmod 0444 "$F"
    code_of 3 setpriv --reuid 65534 --regid 65534 --clear-groups "$HWID_TOOLS_DIR/hwid" enable \
        --openssl-conf "$F"
    expect_text "$T/out" EACCES
    expect_text "$T/out" 'run this as root'
fi
code_of 3 hwid enable --openssl-conf "$T/nowhere.cnf"
expect_text "$T/out" "$T/nowhere.cnf: No such file or directory"
echo 'x = 1' > "$T/linked/hwid.cnf"
code_of 1 hwid enable --openssl-conf "$F"
expect_text "$T/out" 'it is not from '
[ "$(cat "$T/linked/hwid.cnf")" = 'x = 1' ] || fail "somebody's file was overwritten"
rm "$T/linked/hwid.cnf"

# --- with tokens: a fragment, or a whole openssl.cnf

make_token line 'ec:P-256,label=device'
make_conf "$T/whole.cnf" default-first line 'keys.device=pkcs11:token=line;object=device'
sed -n '/^\[hwid_sect\]/,$p' "$T/whole.cnf" > "$T/fragment.cnf"
chmod 0644 "$T/fragment.cnf"
for from in fragment whole; do
    code_of 0 hwid enable --openssl-conf "$F" --from "$T/$from.cnf"
    with "$F" openssl pkey -in hwid://device -pubout -out "$T/key.pem" || fail "$from"
    with "$F" openssl req -new -key hwid://device -subj /CN=x -out "$T/csr.pem"
    plain_openssl req -in "$T/csr.pem" -verify -noout 2> "$T/out" || fail "$(cat "$T/out")"
    # Without --from the settings stay, also where an update of openssl.cnf took our lines away.
    cp "$T/linked/hwid.cnf" "$T/enabled"
    code_of 0 hwid enable --openssl-conf "$F"
    expect_text "$T/out" 'whose settings stay'
    cmp "$T/linked/hwid.cnf" "$T/enabled" || fail "$from: the settings are gone"
    cp "$F" "$T/with-lines"
    cat "$BEFORE" > "$F"
    code_of 1 hwid enable --openssl-conf "$F"
    expect_text "$T/out" 'settings of an earlier'
    cmp "$T/linked/hwid.cnf" "$T/enabled" || fail "$from: the settings are gone"
    cat "$T/with-lines" > "$F"
    code_of 0 hwid disable --openssl-conf "$F"
    cmp "$F" "$BEFORE" || fail "$from"
    only_file "$F"
done
# A file in a directory of one's own is not for all who read openssl.cnf.
chmod 0700 "$T"
code_of 0 hwid enable --openssl-conf "$F" --from "$T/fragment.cnf"
expect_text "$T/out" "not readable for all users ($T is closed to them)"
code_of 0 hwid disable --openssl-conf "$F"
chmod 0755 "$T"
# What others can write is not included.
chmod 0666 "$T/fragment.cnf"
code_of 3 hwid enable --openssl-conf "$F" --from "$T/fragment.cnf"
expect_text "$T/out" 'can write it'
chmod 0644 "$T/fragment.cnf"
mkdir -m 0777 "$T/shared"
cp "$T/fragment.cnf" "$T/shared/fragment.cnf"
chmod 0777 "$T/shared"
code_of 3 hwid enable --openssl-conf "$F" --from "$T/shared/fragment.cnf"
expect_text "$T/out" "file=$T/shared: "
if [ "$(id -u)" = 0 ]; then
    chown 65534 "$T/fragment.cnf"
    code_of 3 hwid enable --openssl-conf "$F" --from "$T/fragment.cnf"
    expect_text "$T/out" 'can write it'
    chown 0 "$T/fragment.cnf"
fi
# Nor is what it includes or loads, and a whole file is not copied either.
refused_from() { # TEXT: --from $T/from.cnf
    chmod 0644 "$T/from.cnf"
    code_of 3 hwid enable --openssl-conf "$F" --from "$T/from.cnf"
    expect_text "$T/out" "$1"
    cmp "$F" "$BEFORE"
    only_file "$F"
}
cp "$T/whole.cnf" "$T/shared/whole.cnf"
code_of 3 hwid enable --openssl-conf "$F" --from "$T/shared/whole.cnf"
expect_text "$T/out" "file=$T/shared: "
mkdir "$T/inner \$d"
cp "$T/shared/fragment.cnf" "$T/inner \$d/keys.cnf"
chmod 0644 "$T/inner \$d/keys.cnf"
for named in "$T/inner \\\$d/keys.cnf" "= '$T/inner \$d'" "$T/shared/fragment.cnf"; do
    printf '  .include %s\n' "$named" > "$T/from.cnf"
    case $named in
        *inner*)
            chmod 0644 "$T/from.cnf"
            code_of 0 hwid enable --openssl-conf "$F" --from "$T/from.cnf"
            code_of 0 hwid disable --openssl-conf "$F"
            chmod 0666 "$T/inner \$d/keys.cnf"
            refused_from "file=$T/inner \$d/keys.cnf: "
            chmod 0644 "$T/inner \$d/keys.cnf"
            ;;
        *) refused_from "file=$T/shared: " ;;
    esac
done
cp "$HWID_SOFTHSM_MODULE" "$T/shared/token.so"
sed "s|^module = .*softhsm.*|module = $T/shared/token.so|" "$T/inner \$d/keys.cnf" > "$T/from.cnf"
grep -q "^module = $T/shared" "$T/from.cnf" || fail "no module in $(cat "$T/from.cnf")"
refused_from "file=$T/shared: "
sed "s|^module = .*softhsm.*|module = $T/nowhere.so|" "$T/inner \$d/keys.cnf" > "$T/from.cnf"
refused_from "file=$T/nowhere.so: "
# For the system's file the same is true of hwid.so.
if [ "$(id -u)" = 0 ]; then
    cp "$HWID_MODULE_DIR/hwid.so" "$T/shared/hwid.so"
    code_of 3 env OPENSSL_MODULES="$T/shared" "$HWID_TOOLS_DIR/hwid" enable --openssl-conf "$F"
    expect_text "$T/out" "file=$T/shared: "
    cmp "$F" "$BEFORE"
    only_file "$F"
fi
echo 'pin = 1111' >> "$T/whole.cnf"
sed -i 's/^pin-source.*/pin = 1111/' "$T/whole.cnf"
code_of 3 hwid enable --openssl-conf "$F" --from "$T/whole.cnf"
expect_text "$T/out" 'is a PIN'
printf '[%s]\nbackends = x\n' "$last" > "$T/clash.cnf"
chmod 0644 "$T/clash.cnf"
code_of 3 hwid enable --openssl-conf "$F" --from "$T/clash.cnf"
expect_text "$T/out" "it has a section [$last]"
code_of 3 hwid enable --openssl-conf "$F" --from "$T/plain.cnf"
expect_text "$T/out" 'no section that loads hwid.so'
cmp "$F" "$BEFORE"
only_file "$F"

# --- what goes wrong late: a program `openssl` that obeys $T/late once the file is in its place

mkdir "$T/bin"
cat > "$T/bin/openssl" << END
#!/bin/sh
if [ "\$OPENSSL_CONF" = "$F" ] && grep -q 'hwid: begin' "$F"; then . "$T/late"; fi
if [ "\$OPENSSL_CONF" != "$F" ]; then . "$T/early"; fi
exec "$(command -v openssl)" "\$@"
END
chmod +x "$T/bin/openssl"
late() { # CODE EARLY LATE: hwid enable with these commands
    echo "$2" > "$T/early"
    echo "$3" > "$T/late"
    code_of "$1" env PATH="$T/bin:$PATH" "$HWID_TOOLS_DIR/hwid" enable --openssl-conf "$F"
}
late 0 : :
code_of 0 hwid disable --openssl-conf "$F"
late 3 : 'exit 1'
expect_text "$T/out" 'the file is as it was'
cmp "$F" "$BEFORE"
only_file "$F"
# Another editor before the file is replaced: its change stays.
late 1 "echo '# edited' >> '$F'" :
expect_text "$T/out" 'somebody has changed it meanwhile'
grep -v '^# edited' "$F" | cmp - "$BEFORE"
cp "$BEFORE" "$F"
only_file "$F"
# And after that, when it cannot be restored: the backup stays, and is named.
late 3 : "echo '# edited' >> '$F'; exit 1"
expect_text "$T/out" "as it was it is in $F.hwid-backup"
grep -q '^# edited' "$F" || fail "the change is lost"
cmp "$F.hwid-backup" "$BEFORE"
[ ! -e "$T/linked/hwid.cnf" ] || fail "the fragment stays"
rm "$F.hwid-backup"
cp "$BEFORE" "$F"
# A directory that cannot be opened cannot be synced: what is done is done.
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null && [ -z "${HWID_PRELOAD:-}" ]; then
    mkdir "$T/blind"
    cp "$BEFORE" "$T/blind/openssl.cnf"
    chown -R 65534:65534 "$T/blind"
    chmod 0300 "$T/blind"
    code_of 0 setpriv --reuid 65534 --regid 65534 --clear-groups "$HWID_TOOLS_DIR/hwid" enable \
        --openssl-conf "$T/blind/openssl.cnf"
    expect_text "$T/out" "fsync: file=$T/blind/openssl.cnf: Permission denied"
    grep -q 'hwid: begin' "$T/blind/openssl.cnf" || fail "not enabled"
fi

# OPENSSL_CONF is of this shell alone: without --openssl-conf the system's file is meant. It is not
# to be changed by a test, so who runs this must not be able to.
system=$(openssl version -d | sed 's/^OPENSSLDIR: "\(.*\)"$/\1/')/openssl.cnf
run=()
if [ "$(id -u)" = 0 ]; then run=(setpriv --reuid 65534 --regid 65534 --clear-groups); fi
# shellcheck disable=SC2016  # the inner shell's
unchangeable='[ -r "$1" ] && [ ! -w "$1" ] && [ ! -w "$(dirname "$(readlink -f "$1")")" ]'
if [ "$(id -u)" != 0 ] || { command -v setpriv > /dev/null && [ -z "${HWID_PRELOAD:-}" ]; } &&
    "${run[@]}" sh -c "$unchangeable" sh "$system"; then
    code_of 0 hwid enable --openssl-conf "$F"
    for command in enable disable; do
        code_of 3 env OPENSSL_CONF="$F" "${run[@]}" "$HWID_TOOLS_DIR/hwid" $command
        expect_text "$T/out" "file=$(readlink -f "$system"): EACCES"
        expect_text "$T/out" "go on reading $F, not $system"
    done
    code_of 0 hwid disable --openssl-conf "$F"
else
    echo 'skipped: the system file: it could be changed here, or cannot be read'
fi
cmp "$F" "$BEFORE"
