#!/usr/bin/env bash
# Checks pages in a browser: the report of the demo, a comparison, a report with names that contain
# HTML, and with FEAMOE_DATA that of Adult, within limits of time and size. The form of each report
# is used by keyboard: it must show what the command computes. Planted faults must all be found.
# Packages and pages go into target/page. Exit code 3: node, npm, its packages or Chromium could not
# be installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Limits for Adult's report on 16,281 rows.
most_seconds=5 most_bytes=$((1500 * 1000))

place=$PWD/target/page
export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
mkdir -p "$place"
cp trainer/page/package.json trainer/page/package-lock.json "$place/"
{
    [ -n "$CHROMIUM" ] && command -v node >/dev/null && command -v npm >/dev/null &&
        npm ci --silent --no-audit --no-fund --prefix "$place"
} >&2 || { echo "no browser: node, npm, the packages of trainer/page or Chromium could not be had" >&2; exit 3; }
export PAGE_MODULES=$place
check() { node trainer/page/check.mjs "$@"; }

cargo build --quiet --release --locked -p feamoe
feamoe=$PWD/target/release/feamoe
pages=$place/pages
rm -rf "$pages"
mkdir -p "$pages"
"$feamoe" demo --out "$pages/demo" >/dev/null

# The report with the cost of fairness, and a comparison.
in_demo() (cd "$pages/demo" && "$feamoe" "$@")
in_demo tune lending.csv --schema lending.toml --candidates 1 --repeats 1 -o options.toml --format json >"$pages/demo/tune.json"
in_demo train lending.csv --schema lending.toml -o free.feamoe >/dev/null 2>&1
in_demo report lending.ckpt --data lending-test.csv --front tune.json -o "$pages/demo.html" >/dev/null
in_demo compare free.feamoe lending.feamoe lending-test.csv -o "$pages/compared.html" >/dev/null

# Names that contain HTML or that every JavaScript object has, many groups, and two protected
# columns.
{
    echo '"<b onclick=""x()"">income</b>",<script>group</script>,"region & ""more""",__proto__,toString,y'
    for row in $(seq 1 1500); do
        echo "$((row * 7919 % 1009)),<i>g$((row * 31 % 9))</i>,\"</td>$((row % 4))\",$((row * 31 % 53)),t$((row % 3)),$((row * 7919 % 1009 + row % 97 > 560))"
    done
} >"$pages/names.csv"
cat >"$pages/names.toml" <<'END'
[target]
column = "y"
positive = ["1"]
[[protected]]
column = "<script>group</script>"
privileged = ["<i>g0</i>"]
[[protected]]
column = "region & \"more\""
privileged = ["</td>0"]
as_feature = true
END
"$feamoe" train "$pages/names.csv" --schema "$pages/names.toml" -o "$pages/names.feamoe" >/dev/null 2>&1
"$feamoe" report "$pages/names.feamoe" --data "$pages/names.csv" -o "$pages/names.html" >/dev/null 2>&1
if [ -n "${FEAMOE_DATA:-}" ]; then
    "$feamoe" train "$FEAMOE_DATA/adult.data" --schema trainer/schemas/adult.toml --fair spd=0.05 -o "$pages/adult.feamoe" --checkpoint "$pages/adult.ckpt" >/dev/null 2>&1
    start=$(date +%s%N)
    "$feamoe" report "$pages/adult.ckpt" --data "$FEAMOE_DATA/adult.test" -o "$pages/adult.html" >/dev/null
    milliseconds=$((($(date +%s%N) - start) / 1000000)) bytes=$(stat --format %s "$pages/adult.html")
    echo "Adult's report: $milliseconds ms, $bytes bytes"
    [ $milliseconds -le $((most_seconds * 1000)) ] || { echo "expected at most $most_seconds s" >&2; exit 1; }
    [ "$bytes" -le $most_bytes ] || { echo "expected at most $most_bytes bytes" >&2; exit 1; }
else
    echo "skipped: the report of Adult, FEAMOE_DATA not set"
fi
check --pictures "$pages/pictures" "$pages/demo.html" "$pages/compared.html" "$pages/names.html"
what_if() { node trainer/page/what_if.mjs "$feamoe" "$@"; }
what_if "$pages/demo/lending.feamoe" "$pages/demo.html"
what_if "$pages/names.feamoe" "$pages/names.html"
if [ -n "${FEAMOE_DATA:-}" ]; then
    # The command needs a header with the names of the columns.
    sed 's/^header = false/header = true/; /^columns = \[/,/^\]/d' trainer/schemas/adult.toml >"$pages/adult.toml"
    what_if "$pages/adult.feamoe" "$pages/adult.html" "$pages/adult.toml"
fi

# The checks must find the faults that are planted in a page without any.
planted=(
    '<img alt="" src="http://example.invalid/x.png">'
    '<input>'
    '<div style="width: 3000px">wide</div>'
    '<p style="color: #222">Hard to read in the dark</p>'
    '<svg viewBox="0 0 960 9" role="img"></svg>'
    '<figure><svg viewBox="0 0 9600 90" role="img" aria-labelledby="t"><title id="t">t</title><text>tiny</text></svg></figure>'
    '<script>null.x</script>'
)
expected=(
    'asks for http://example.invalid'
    'console: .*Content Security Policy'
    ': label: '
    'the page is 30[0-9]* wide'
    'color-contrast'
    'a plot has no name'
    'no table stands behind "t"'
    'text of [0-9.]* pixels in "t"'
    'error: Cannot read properties of null'
)
sed "s|<footer>|$(printf '%s' "${planted[@]}")<footer>|" "$pages/names.html" >"$pages/fault.html"
if check --quick "$pages/fault.html" >"$pages/found.txt"; then
    echo "no planted fault was found" >&2
    exit 1
fi
for what in "${expected[@]}"; do
    grep -q "$what" "$pages/found.txt" || { echo "not found: $what; found was" >&2; cat "$pages/found.txt" >&2; exit 1; }
done
# A form with the score of another model, and a form whose script the policy does not allow.
"$feamoe" train "$pages/demo/lending.csv" --schema "$pages/demo/lending.toml" --seed 2 -o "$pages/other.feamoe" >/dev/null 2>&1
if what_if "$pages/other.feamoe" "$pages/demo.html" >"$pages/found.txt" || ! grep -q "in the form, .* by the command" "$pages/found.txt"; then
    echo "the score of another model was not found:" >&2
    cat "$pages/found.txt" >&2
    exit 1
fi
sed 's|const FEATURES = 512|const FEATURES = 256|' "$pages/demo.html" >"$pages/fault.html"
if check --quick "$pages/fault.html" >"$pages/found.txt" || ! grep -q "Content Security Policy" "$pages/found.txt"; then
    echo "a script that the policy does not name was not stopped:" >&2
    cat "$pages/found.txt" >&2
    exit 1
fi
echo "every planted fault was found"
