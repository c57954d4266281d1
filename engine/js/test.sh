#!/usr/bin/env bash
# Checks the module for JavaScript: it is rebuilt, imports nothing, and keeps its size limit. In
# Node and in headless Chromium its scores, explanations and recourse have the same bits as the
# command's, on the golden models, on the demo's, and with FEAMOE_DATA on all of adult.test. Planted
# faults must all be found. The module in the report must be the same file or compute the same. Exit
# code 3: node, npm, its packages, Chromium or the target for WebAssembly could not be installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly most_bytes=120000

place=$PWD/target/page
export CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
mkdir -p "$place"
cp trainer/page/package.json trainer/page/package-lock.json "$place/"
{
    [ -n "$CHROMIUM" ] && command -v node >/dev/null && command -v npm >/dev/null &&
        { [ -d "$place/node_modules/playwright-core" ] || npm ci --silent --no-audit --no-fund --prefix "$place"; }
} >&2 || { echo "no browser: node, npm, the packages of trainer/page or Chromium could not be had" >&2; exit 3; }
export PAGE_MODULES=$place
# Node can hang when it exits (its issue 54918), so a run that times out is repeated once.
run() {
    local status=0
    timeout 600 node "$@" || status=$?
    if [ $status = 124 ]; then
        echo "node did not end in 600 s: once more"
        status=0
        timeout 600 node "$@" || status=$?
    fi
    return $status
}

status=0
engine/js/build.sh || status=$?
[ $status = 0 ] || exit $status
bytes=$(stat --format %s engine/js/feamoe.wasm)
echo "the module: $bytes bytes, $(gzip -9 <engine/js/feamoe.wasm | wc -c) compressed"
[ "$bytes" -le $most_bytes ] || { echo "expected at most $most_bytes bytes" >&2; exit 1; }
if grep --quiet --text --fixed-strings -e "$PWD" -e "${CARGO_HOME:-$HOME/.cargo}" engine/js/feamoe.wasm; then
    echo "the module names a folder of who built it" >&2
    exit 1
fi

# The module in the report.
carried=trainer/src/report/what_if
# It is another file if another compiler built it, or if the engine has changed without a change of
# results.
if ! cmp --quiet engine/js/feamoe.wasm $carried/feamoe.wasm; then
    echo "the report's module, by $(cat $carried/feamoe.wasm.rustc), is compared by what it computes"
    export OTHER_WASM=$PWD/$carried/feamoe.wasm
fi

cargo build --quiet --release --locked -p feamoe
feamoe=$PWD/target/release/feamoe
models=$PWD/target/js/models
rm -rf "$models"
mkdir -p "$models"
cp tests/golden/*.feamoe engine/golden/adult-*.feamoe engine/golden/v1*.feamoe "$models/"
cp firmware-example/demo.feamoe "$models/"
for width in i16 i8; do
    "$feamoe" export tests/golden/run-v9.feamoe --quantize $width -o "$models/run-v9-$width.feamoe" >/dev/null
done
# The rows and the schema of a model have its name; models without them get rows of all kinds.
if [ -n "${FEAMOE_DATA:-}" ]; then
    "$feamoe" train "$FEAMOE_DATA/adult.data" --schema trainer/schemas/adult.toml --fair spd=0.05 -o "$models/adult.feamoe" >/dev/null 2>&1
    "$feamoe" export "$models/adult.feamoe" --quantize i16 -o "$models/adult-i16.feamoe" >/dev/null
    cp "$FEAMOE_DATA/adult.test" "$models/adult.rows"
    cp trainer/schemas/adult.toml "$models/adult.toml"
else
    echo "skipped: adult.test, FEAMOE_DATA not set"
fi
run engine/js/tests/parity.mjs "$feamoe" "$models"
run --expose-gc engine/js/tests/use.mjs firmware-example/demo.feamoe engine/golden/v1-i16.feamoe
run engine/js/tests/readme.mjs firmware-example/demo.feamoe target/js/readme
