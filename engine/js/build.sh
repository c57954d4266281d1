#!/usr/bin/env bash
# Builds engine/c as WebAssembly into engine/js/feamoe.wasm. The same compiler gives the same bytes
# in any folder. With --report also copies it into the trainer, whose reports contain it, with the
# name of the compiler in a file beside it. Exit code 3: the target is missing and could not be
# installed.
set -euo pipefail
cd "$(dirname "$0")/../c"

readonly target=wasm32-unknown-unknown
has_target() { compgen -G "$(rustc --print target-libdir --target $target)/libcore-*.rlib" >/dev/null; }
has_target || { command -v rustup >/dev/null && timeout 300 rustup target add $target >&2 && has_target; } || {
    echo "no WebAssembly: 'rustup target add $target' failed" >&2
    exit 3
}

# The same capacity as in feamoe.mjs.
export FEAMOE_FEATURES=512 FEAMOE_EXPERTS=64 FEAMOE_BACKGROUND=1000 CARGO_PROFILE_RELEASE_OPT_LEVEL=s
export CARGO_TARGET_DIR="$PWD/../../target/js"
../reproducible.sh cargo rustc --quiet --release --locked --target $target --no-default-features --crate-type cdylib -- \
    -C strip=symbols -C link-arg=--export=__heap_base
cp "$CARGO_TARGET_DIR/$target/release/feamoe.wasm" ../js/feamoe.wasm
if [ "${1:-}" = --report ]; then
    cp ../js/feamoe.wasm ../../trainer/src/report/what_if/
    rustc --version >../../trainer/src/report/what_if/feamoe.wasm.rustc
fi
