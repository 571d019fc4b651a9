#!/bin/bash
# What README.md and the pages beside it link to is there: files, and headings of pages.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"

cat > "$T/links.py" <<'PY'
import os, re, sys
root = os.path.realpath(sys.argv[1])

def text_of(page):  # without code, which only looks like links and headings
    text = open(page, encoding="utf-8").read()
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)

def anchors(page):  # as GitHub makes them
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

pages = [os.path.join(folder, name) for folder in (root, os.path.join(root, "doc"))
         for name in os.listdir(folder) if name.endswith(".md")]
count = 0
for page in sorted(pages):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        count += 1
        path, _, anchor = target.partition("#")
        there = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(there):
            print(f"{os.path.relpath(page, root)}: there is no {target}")
        elif anchor and anchor not in anchors(there):
            print(f"{os.path.relpath(page, root)}: no heading for {target}")
print(count, file=sys.stderr)
PY
python3 "$T/links.py" "$HWID_TESTS_DIR/.." > "$T/broken" 2> "$T/count"
[ ! -s "$T/broken" ] || fail "$(cat "$T/broken")"
[ "$(cat "$T/count")" -ge 40 ] || fail "only $(cat "$T/count") links were seen"
