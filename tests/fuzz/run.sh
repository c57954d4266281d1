#!/usr/bin/env bash
# Fuzzes every target, or those named, guided by coverage, for so long in all: tests/fuzz/run.sh
# SECONDS [TARGET...]. Starts from the seeds and from what earlier runs found, which stays in
# target/fuzz/corpus. An input that fails is kept in target/fuzz/failed, and ends the run.
set -euo pipefail
cd "$(dirname "$0")"

seconds=$1
shift
targets=("$@")
[ $# -gt 0 ] || for program in fuzz_targets/*.rs; do targets+=("$(basename "$program" .rs)"); done

# What cargo-fuzz sets without a sanitizer, of which the code that is fuzzed has no need: it has no
# unsafe of its own. Any compiler takes these.
counters="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    counters+=" -Cllvm-args=-sanitizer-coverage-$option"
done
# For a target that is named, build scripts and macros are compiled without them.
host=$(rustc -vV | sed -n 's/^host: //p')
built=$PWD/../../target/fuzz
RUSTFLAGS=$counters cargo build --quiet --release --locked --target "$host" --target-dir "$built"

for target in "${targets[@]}"; do
    mkdir -p "$built/corpus/$target" "$built/failed/$target"
    golden=()
    [ "$target" != load ] || golden=(../../engine/golden)
    output=$built/$target.log
    "$built/$host/release/$target" "$built/corpus/$target" "seeds/$target" "${golden[@]}" -max_len=4096 -timeout=20 \
        -max_total_time=$((seconds / ${#targets[@]} + 1)) -artifact_prefix="$built/failed/$target/" -print_final_stats=1 >"$output" 2>&1 ||
        { tail -30 "$output" >&2; exit 1; }
    executions=$(sed -n 's/^stat::number_of_executed_units: //p' "$output")
    edges=$(grep -o ' cov: [0-9]*' "$output" | tail -1)
    echo "$target: $executions executions, edges${edges#* cov}"
done
