#!/bin/bash
# The manual pages: all are made, in good form, and show each option as a paragraph with a tag.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/fixture/manual.bash
. "$HWID_TESTS_DIR/fixture/manual.bash"
: "${HWID_MANUALS_DIR:?}"
need pandoc mandoc col

PAGES=("$HWID_TESTS_DIR"/../doc/*.[1-9].md)
[ ${#PAGES[@]} -ge 13 ] || fail "too few pages: ${PAGES[*]}"
for source in "${PAGES[@]}"; do
    name=$(basename "$source" .md)
    page=$HWID_MANUALS_DIR/$name
    [ -s "$page" ] || fail "$name was not made"
    mandoc -Tlint -W warning "$page" > "$T/lint" 2>&1 || fail "$(cat "$T/lint")"
    mandoc -Tutf8 -Owidth=100 "$page" | col -bx > "$T/text"
    expect_text "$T/text" "${name%.*} - "
    [ "$(manual_terms < "$source" | wc -l)" = "$(grep -c '^\.TP' "$page")" ] ||
        fail "$name: not each term of the source has become a tag"
    # Markdown that was not understood would show.
    if grep -nE '\*\*|`|\]\(|^ *:   |^ *#' "$T/text" > "$T/left"; then fail "$name: $(cat "$T/left")"; fi
    if ! command -v man > /dev/null; then continue; fi
    MANWIDTH=100 man --warnings -l "$page" 2> "$T/all-warnings" > "$T/shown"
    # groff 1.23 says so of a long word alone in a line of a table.
    grep -v "warning .*cannot adjust line" "$T/all-warnings" > "$T/warnings" || true
    [ ! -s "$T/warnings" ] || fail "$name: man: $(cat "$T/warnings")"
done

# What is typed can be copied: an option's hyphens are none of typography's.
for option in --pin-source --subject; do
    grep -qF -- "\\f[B]${option//-/\\-}\\f[R]" "$HWID_MANUALS_DIR/hwid.1" || fail "$option in hwid(1)"
done
