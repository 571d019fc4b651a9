#!/bin/bash
# The report of hwid verify --html, looked at in a browser: what is shown, on a screen and on paper.
# shellcheck source=tests/fixture/lib.sh
. "${HWID_TESTS_DIR:?}/fixture/lib.sh"
# shellcheck source=tests/tool/tool.bash
. "$HWID_TESTS_DIR/tool/tool.bash"
# shellcheck source=tests/tool/verify.bash
. "$HWID_TESTS_DIR/tool/verify.bash"

BROWSER=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
[ -n "$BROWSER" ] || skip 'no chromium is installed'
browse() { # OPTION...: as root it has no sandbox; what it complains of is left in $T/browser.log
    env -u LD_PRELOAD HOME="$T" timeout 60 "$BROWSER" --headless=new --no-sandbox --disable-gpu \
        --disable-dev-shm-usage --hide-scrollbars --user-data-dir="$T/browser" \
        --allow-file-access-from-files "$@" 2> "$T/browser.log"
}
browse --dump-dom about:blank > "$T/text" || skip "chromium does not run: $(tail -n 1 "$T/browser.log")"

look() { # REPORT WIDTH: facts of how it is laid out, in $T/out
    cat > "$T/look.html" << 'END'
<!DOCTYPE html><title>looks at a report</title><body style="margin:0"><script>
const parameters = new URLSearchParams(location.search);
const frame = document.createElement('iframe');
frame.width = parameters.get('width');
frame.height = 3000;
frame.style.border = 'none';
frame.src = parameters.get('page');
frame.onload = () => {
  const page = frame.contentDocument;
  const inside = (inner, outer, by) =>
    inner.left >= outer.left - by && inner.right <= outer.right + by &&
    inner.top >= outer.top - by && inner.bottom <= outer.bottom + by;
  const box = (element) => element.getBoundingClientRect();
  const apart = (a, b) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top ||
    b.bottom <= a.top;
  const captions = [...page.querySelectorAll('.caption')].filter((one) => one.textContent);
  const chain = page.querySelector('svg.chain');
  const out = {
    title: page.title,
    heading: page.querySelector('h1').textContent,
    verdict: page.querySelector('.verdict .word').textContent,
    colour: frame.contentWindow.getComputedStyle(page.querySelector('.verdict')).borderTopColor,
    tooWide: page.documentElement.scrollWidth > page.documentElement.clientWidth,
    foreign: page.querySelectorAll('script, img, iframe, link, object, embed, a').length,
    handlers: [...page.querySelectorAll('*')].flatMap((element) => [...element.attributes])
      .filter((attribute) => attribute.name.startsWith('on')).length,
    loaded: frame.contentWindow.performance.getEntriesByType('resource').length,
    rows: page.querySelectorAll('tbody tr').length,
    marks: [...page.querySelectorAll('.link use')].map((use) => use.getAttribute('href').slice(6)),
    titles: [...page.querySelectorAll('.box')].map((one) =>
      one.querySelectorAll('text')[1].lastChild.textContent),
    boxes: [...page.querySelectorAll('.box')].map((one) => {
      const border = box(one.querySelector('rect'));
      return [...one.querySelectorAll('text')].every((text) => inside(box(text), border, 0));
    }),
    captions: captions.every((one) => inside(box(one), box(chain), 1)) &&
      captions.every((one, at) => captions.slice(at + 1).every((other) =>
        apart(box(one), box(other)) || box(other).top - box(one).top > 5)),
    text: page.body.innerText
  };
  const result = document.createElement('pre');
  result.id = 'result';
  result.textContent = JSON.stringify(out);
  document.body.replaceChildren(result);
};
document.body.append(frame);
</script>
END
    browse --window-size=1300,3000 --virtual-time-budget=10000 --dump-dom \
        "file://$T/look.html?page=$(basename "$1")&width=$2" > "$T/dom" || fail "$(cat "$T/browser.log")"
    python3 - "$T/dom" > "$T/out" << 'END'
import html, re, sys
print(html.unescape(re.search(r'<pre id="result">(.*)</pre>', open(sys.argv[1]).read(), re.S)[1]))
END
}
well_laid_out() { # REPORT: on a screen and on a telephone
    local width
    for width in 900 400; do
        look "$1" $width
        is 'd["tooWide"], d["foreign"], d["handlers"], d["loaded"]' '(False, 0, 0, 0)'
        is 'd["boxes"], d["captions"]' '([True, True, True, True], True)'
    done
}
pages() { # REPORT: how many sheets of paper it takes
    browse --no-pdf-header-footer --print-to-pdf="$T/report.pdf" "file://$1" || fail "$(cat "$T/browser.log")"
    LC_ALL=C grep -ac '/Type */Page\b' "$T/report.pdf"
}

HOSTILE='<script>document.title=1</script><img src=x onerror=alert(1)>"&'\'
LONG=WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW
CJK=$(printf '\xe9\x8d\xb5%.0s' {1..40})
make_token "<b>token</b>" rsa:2048,label=rsa,id=01 "ec:P-256,label=$HOSTILE,id=02" \
    "ec:P-256,label=$LONG,id=03,extractable" "ec:P-256,label=$CJK,id=04"
make_ca ca
make_conf "$T/openssl.cnf" default-first "<b>token</b>" "keys.device=pkcs11:id=%01;type=private"
export OPENSSL_CONF=$T/openssl.cnf
openssl req -new -key hwid://device -subj '/O=<i>Works<\/i>/CN=<script>alert(2)<\/script>' \
    -out "$T/device.csr"
issue_cert ca device client "$T/device.csr"

# --- a key with its certificate

expect_exit 0 hwid verify hwid://device --cert "$T/device.pem" --html "$T/report.html" --json
checks=$(json 'len(d["checks"])')
well_laid_out "$T/report.html"
is 'd["title"], d["heading"], d["verdict"]' "('Key protection report: rsa', 'rsa', 'software-token')"
is 'd["rows"]' "$checks"
is 'd["marks"]' "['good', 'good', 'warning']"
is 'd["colour"]' 'rgb(199, 119, 0)'
is '"alert(2)" in d["text"], "<b>token</b>" in d["text"]' '(True, True)'
is '"CKR_KEY_UNEXTRACTABLE" in d["text"], "SoftHSM project" in d["text"]' '(True, True)'
if grep -qE 'https?://' <(sed 's|http://www.w3.org/2000/svg||' "$T/report.html"); then
    fail 'the page names others'
fi
[ "$(pages "$T/report.html")" -le 2 ] || fail "$(pages "$T/report.html") sheets of paper"
# In colours that there are: no blank page, no half of one.
browse --window-size=900,1400 --screenshot="$T/report.png" "file://$T/report.html"
[ "$(stat -c %s "$T/report.png")" -gt 50000 ] || fail 'the picture is empty'

# --- names that play with a page

for id in 02 03 04; do
    code=0
    hwid verify "pkcs11:id=%$id;type=private" --html "$T/$id.html" --json > "$T/out" || code=$?
    label=$(json 'd["key"]["label"]')
    well_laid_out "$T/$id.html"
    [ "$(json 'd["heading"]')" = "$label" ] || fail "$(json 'd["heading"]')"
    [ "$(json 'd["title"]')" = "Key protection report: $label" ] || fail "$(json 'd["title"]')"
    if [ $id = 03 ]; then
        [ $code = 1 ] || fail "exit $code"
        is 'd["verdict"], d["marks"][1], d["colour"]' "('can-leave', 'bad', 'rgb(179, 32, 42)')"
    fi
done

# --- a file that is there is kept

refused 1 'it exists already' hwid verify hwid://device --html "$T/report.html"
expect_exit 0 hwid verify hwid://device --html "$T/report.html" --force
refused 2 'it is for --html' hwid verify hwid://device --force
refused 3 'No such file' hwid verify hwid://device --html "$T/no/such/report.html"
