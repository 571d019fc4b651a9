#!/bin/bash
# The maintainer scripts of the Debian packages, on files of this test: removing hwid-provider leaves
# openssl.cnf as `hwid disable` does, whatever others made of it meanwhile, and installing it again
# puts the lines back. The units of the package hwid run again where they were enabled.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"

SCRIPTS=$HWID_TESTS_DIR/../cmake/debian
ROOT=$T/root
CONF=$ROOT/etc/ssl/openssl.cnf
mkdir -p "$ROOT/etc/ssl" "$ROOT/var/lib" "$T/fast"
# A busy disk takes seconds for each sync, and nothing here has to outlive the machine.
printf '#!/bin/sh\n' > "$T/fast/sync"
chmod +x "$T/fast/sync"
PATH=$T/fast:$PATH

# What dpkg knows: nothing.
mkdir -p "$T/dpkg/var/lib/dpkg/info" "$T/dpkg/var/lib/dpkg/updates" "$T/dpkg/var/lib/dpkg/triggers"
touch "$T/dpkg/var/lib/dpkg/status"

below_root() { # PACKAGE SCRIPT: that maintainer script, with the system's directories below $ROOT
    sed "s,/\(etc\|var/lib\|run/systemd\)/,$ROOT&,g" "$SCRIPTS/$1/$2"
}
maintain() { # PACKAGE SCRIPT ARGUMENT...: as dpkg calls it
    below_root "$1" "$2" > "$T/script"
    DPKG_MAINTSCRIPT_ARCH=amd64 DPKG_ADMINDIR=$T/dpkg/var/lib/dpkg \
        sh "$T/script" "${@:3}" > "$T/out" 2>&1 || fail "$1's $2 ${*:3}: $(cat "$T/out")"
}
nothing_left() { # of ours beside openssl.cnf, but the settings
    local left
    left=$(find "$ROOT/etc/ssl" -mindepth 1 ! -name openssl.cnf ! -name hwid.cnf -printf '%f ')
    [ -z "$left" ] || fail "left: $left"
}
enabled() { # BEFORE, printf's format of openssl.cnf; $T/enabled is what it then is
    rm -rf "$ROOT"/etc/ssl/* "$ROOT/var/lib/hwid-provider"
    # shellcheck disable=SC2059  # it is a format
    printf "$1" > "$CONF"
    cp "$CONF" "$T/before"
    hwid enable --openssl-conf "$CONF" > "$T/out" 2>&1 || fail "enable: $(cat "$T/out")"
    cp "$CONF" "$T/enabled"
    cp "$ROOT/etc/ssl/hwid.cnf" "$T/hwid.cnf"
}
as_disable_does() { # takes the lines out of $CONF with both
    cp "$CONF" "$T/with-lines"
    cp "$T/hwid.cnf" "$ROOT/etc/ssl/hwid.cnf"
    hwid disable --openssl-conf "$CONF" > "$T/out" 2>&1 || fail "disable: $(cat "$T/out")"
    cp "$CONF" "$T/disabled"
    cat "$T/with-lines" > "$CONF"
    cp "$T/hwid.cnf" "$ROOT/etc/ssl/hwid.cnf"
    maintain provider prerm remove
    cmp "$CONF" "$T/disabled" || fail "prerm: $(cat -A "$CONF") disable: $(cat -A "$T/disabled")"
}

CNF='openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault = d\n[d]\nactivate = 1\n'
CRLF=${CNF//\\n/\\r\\n}
# shellcheck disable=SC1003  # printf's own
LONG='[x]\nlong = 1 \\\n2\\' # it ends in a backslash
for before in '' "$CNF\n" "${CNF%\\n}" "$CRLF" "${CRLF%\\r\\n}" "$CNF$LONG" "$CRLF${LONG//\\n/\\r\\n}\r\n"; do
    enabled "$before"
    as_disable_does
    cmp "$CONF" "$T/before" || fail "not what it was: $(cat -A "$CONF")"
    nothing_left
    maintain provider postinst configure 0.1
    cmp "$CONF" "$T/enabled" || fail "not enabled again: $(cat -A "$CONF")"
    for after in 'x = 1\n' '\n\nx = 1'; do
        # shellcheck disable=SC2059
        { cat "$T/enabled" && printf "$after"; } > "$CONF"
        as_disable_does
    done
done
# An editor has taken the blank line away.
enabled "$CNF$LONG\n"
sed -i '/^$/d' "$CONF"
echo 'x = 1' >> "$CONF"
as_disable_does

# The line that ends ours is gone: nothing is guessed, and the removal goes on.
enabled "$CNF"
sed -i '/^# hwid: end/d' "$CONF"
cp "$CONF" "$T/enabled"
maintain provider prerm remove
expect_text "$T/out" "$CONF was not changed"
cmp "$CONF" "$T/enabled"
[ ! -e "$ROOT/var/lib/hwid-provider/openssl.cnf.lines" ] || fail "half of the lines were kept"

# It is replaced at once, through a link, and stays its owner's, of that mode; what cannot be replaced is as
# it was, and nothing is left beside it.
enabled "$CNF"
mv "$CONF" "$ROOT/etc/ssl/real.cnf"
mv "$CONF.hwid-backup" "$ROOT/etc/ssl/real.cnf.hwid-backup"
ln -s real.cnf "$CONF"
REAL=$ROOT/etc/ssl/real.cnf
chmod 0640 "$REAL"
if [ "$(id -u)" = 0 ]; then chown 65534:65534 "$REAL"; fi
kept() { # NUMBER CONTENT: nothing was written into the file that link NUMBER is to
    local left
    [ -L "$CONF" ] || fail "the link was replaced"
    [ "$(stat -c %u:%g:%a "$REAL")" = "$owner" ] || fail "owner or mode changed: $(stat -c %u:%g:%a "$REAL")"
    cmp "$T/link.$1" "$2" || fail "an open file was written"
    left=$(find "$ROOT/etc/ssl" -name '*.hwid-*' ! -name '*.hwid-backup')
    [ -z "$left" ] || fail "left: $left"
}
owner=$(stat -c %u:%g:%a "$REAL")
ln "$REAL" "$T/link.1"
maintain provider prerm remove
cmp "$REAL" "$T/before"
kept 1 "$T/enabled"
ln "$REAL" "$T/link.2"
maintain provider postinst configure 0.1
cmp "$REAL" "$T/enabled"
kept 2 "$T/before"
ln "$REAL" "$T/link.3"
mkdir "$T/bin"
printf '#!/bin/sh\nexit 1\n' > "$T/bin/mv"
chmod +x "$T/bin/mv"
PATH="$T/bin:$PATH" expect_failure maintain provider prerm remove
cmp "$REAL" "$T/enabled"
kept 3 "$T/enabled"

# The units of the package hwid: a removal stops them, an installation after it starts those that are
# enabled, and an upgrade starts the telemetry anew only where it runs.
mkdir -p "$ROOT/run/systemd/system" "$ROOT/var/lib/hwid" "$ROOT/etc/systemd/system" "$T/systemd"
for program in systemd-sysusers systemd-tmpfiles; do
    printf '#!/bin/sh\n' > "$T/systemd/$program"
done
cat > "$T/systemd/systemctl" << 'END'
#!/bin/sh
case " $* " in *" is-enabled "*) ;; *) exit 0 ;; esac
for unit; do :; done
grep -qx "$unit" "$T/units"
END
cat > "$T/systemd/deb-systemd-invoke" << 'END'
#!/bin/sh
echo "$*" >> "$T/invoked"
END
chmod +x "$T"/systemd/*
export T
invokes() { # EXPECTED SCRIPT ARGUMENT...
    : > "$T/invoked"
    PATH="$T/systemd:$PATH" maintain tools "${@:2}"
    [ "$(paste -sd, "$T/invoked")" = "$1" ] || fail "${*:2}: $(paste -sd, "$T/invoked")"
    [ ! -s "$T/out" ] || fail "${*:2} says: $(cat "$T/out")"
}
: > "$T/units"
restart='try-restart hwid-telemetry.service'
invokes '' postinst configure ''
invokes "$restart" postinst configure 0.1
echo hwid-renew.timer > "$T/units"
invokes 'stop hwid-renew.timer hwid-renew.service hwid-telemetry.service' prerm remove
invokes 'start hwid-renew.timer' postinst abort-remove
invokes "$restart,start hwid-renew.timer" postinst configure 0.1
echo hwid-telemetry.service >> "$T/units"
invokes "$restart,start hwid-renew.timer,start hwid-telemetry.service" postinst configure 0.1
invokes '' postinst triggered
# Purging takes an empty directory away; what is in one, and a link to where there is more room, stay.
touch "$ROOT/var/lib/hwid/certificate"
invokes '' postrm purge
rm "$ROOT/var/lib/hwid/certificate"
mv "$ROOT/var/lib/hwid" "$ROOT/data"
ln -s ../../data "$ROOT/var/lib/hwid"
invokes '' postrm purge
[ -d "$ROOT/var/lib/hwid/" ] || fail "the link or what it leads to is gone"
rm "$ROOT/var/lib/hwid"
mv "$ROOT/data" "$ROOT/var/lib/hwid"
invokes '' postrm purge
[ ! -e "$ROOT/var/lib/hwid" ] || fail "an empty directory stays"

# With two architectures, by dpkg itself: it is the last one that takes the lines away, and the last
# one's purge that takes the settings.
if [ "$(id -u)" != 0 ] || ! command -v dpkg-deb > /dev/null; then
    echo 'skipped: two architectures: dpkg needs root'
    exit 0
fi
printf 'amd64\narmhf\n' > "$T/dpkg/var/lib/dpkg/arch"
for architecture in amd64 armhf; do
    tree=$T/$architecture
    mkdir -p "$tree/DEBIAN" "$tree/$architecture"
    printf '%s\n' 'Package: hwid-provider' 'Version: 1' "Architecture: $architecture" 'Multi-Arch: same' \
        'Maintainer: hwid <hwid@hwid.example>' 'Description: its scripts' > "$tree/DEBIAN/control"
    for script in postinst prerm postrm; do
        below_root provider $script > "$tree/DEBIAN/$script"
        chmod 0755 "$tree/DEBIAN/$script"
    done
    dpkg-deb -b "$tree" "$T/$architecture.deb" > "$T/out"
done
run_dpkg() { # ARGUMENT...
    PATH=$PATH:/usr/sbin:/sbin dpkg --root="$T/dpkg" --force-script-chrootless --force-unsafe-io \
        --log="$T/dpkg.log" "$@" > "$T/out" 2>&1 ||
        fail "dpkg $*: $(cat "$T/out")"
}
lines_are() { # FILE: openssl.cnf is that, and the settings are there
    cmp "$CONF" "$1" || fail "$(cat "$CONF")"
    cmp "$ROOT/etc/ssl/hwid.cnf" "$T/hwid.cnf" || fail "the settings are gone"
}
enabled "$CNF"
run_dpkg -i "$T/amd64.deb" "$T/armhf.deb"
run_dpkg -r hwid-provider:amd64
lines_are "$T/enabled"
run_dpkg -P hwid-provider:amd64
lines_are "$T/enabled"
run_dpkg -i "$T/amd64.deb"
run_dpkg -r hwid-provider:armhf
lines_are "$T/enabled"
run_dpkg -r hwid-provider:amd64 # armhf left its settings
lines_are "$T/before"
run_dpkg -i "$T/armhf.deb"
lines_are "$T/enabled"
run_dpkg -P hwid-provider:amd64
lines_are "$T/enabled"
run_dpkg -P hwid-provider:armhf
cmp "$CONF" "$T/before"
[ ! -e "$ROOT/etc/ssl/hwid.cnf" ] || fail "purging keeps the settings"
nothing_left
