#!/usr/bin/env bash
# Compares the module in Node with the same engine compiled for this machine, in one run: the time
# to score a record whose values are set, through the same function of the C interface. Prints the
# medians of several rounds and their ratio.
#
#     engine/js/bench.sh [MODEL]
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly model=$(realpath "${1:-firmware-example/demo.feamoe}")
engine/js/build.sh
# The same capacity as in build.sh.
export FEAMOE_FEATURES=512 FEAMOE_EXPERTS=64 FEAMOE_BACKGROUND=1000 CARGO_TARGET_DIR=$PWD/target/js
cargo rustc --quiet --release --locked --manifest-path engine/c/Cargo.toml --crate-type staticlib
"${CC:-cc}" -std=c99 -O2 -DFEAMOE_FEATURES=512 -DFEAMOE_EXPERTS=64 -DFEAMOE_BACKGROUND=1000 -Iengine/c/include \
    -o target/js/bench engine/js/tests/bench.c target/js/release/libfeamoe.a
node engine/js/tests/bench.mjs target/js/bench "$model" target/js/bench.values
