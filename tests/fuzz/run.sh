#!/usr/bin/env bash
# Fuzzes every target, or the named ones, guided by coverage, for a number of seconds in total:
#
#     tests/fuzz/run.sh SECONDS [TARGET...]
#
# Starts from the seeds and from the results of earlier runs, which are kept in target/fuzz/corpus.
# An input that fails is kept in target/fuzz/failed and ends the run. FEAMOE_FUZZ_PROFILE=quick
# compiles faster but gives a slower program. Two targets run at a time. In CI each run draws the
# same numbers and prints failing inputs in base64.
set -euo pipefail
cd "$(dirname "$0")"

seconds=$1
shift
targets=("$@") features=
# Targets are named by their seeds. The target arrow needs more crates and runs only if it is named.
[ $# -gt 0 ] || for folder in seeds/*; do [ "$folder" = seeds/arrow ] || targets+=("$(basename "$folder")"); done
case " ${targets[*]} " in *" arrow "*) features=arrow ;; esac

# The flags that cargo-fuzz sets without a sanitizer. The fuzzed code needs none, since it has no
# unsafe of its own. Any compiler accepts these flags.
counters="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    counters+=" -Cllvm-args=-sanitizer-coverage-$option"
done
# With an explicit target, build scripts and macros are compiled without these flags.
host=$(rustc -vV | sed -n 's/^host: //p')
lanes=$((${#targets[@]} > 1 ? 2 : 1)) built=$PWD/../../target/fuzz profile=${FEAMOE_FUZZ_PROFILE:-release}
RUSTFLAGS=$counters cargo build --quiet --profile "$profile" --features "$features" --locked --target "$host" --target-dir "$built"

# Fuzzes one target for its share of the time.
fuzz() {
    local target=$1 output=$built/$1.log longest=4096 golden=() executions edges failed
    # These targets draw their values from the bytes: longer inputs take more time and find nothing
    # more.
    case $target in explain | monitor | record | recourse | slots) longest=400 ;; esac
    mkdir -p "$built/corpus/$target" "$built/failed/$target"
    [ "$target" != load ] || golden=(../../engine/golden)
    FEAMOE_FUZZ_TARGET=$target "$built/$host/$profile/feamoe-fuzz" "$built/corpus/$target" "seeds/$target" "${golden[@]}" -max_len=$longest \
        -timeout=20 -max_total_time=$((lanes * seconds / ${#targets[@]} + 1)) -artifact_prefix="$built/failed/$target/" \
        -print_final_stats=1 ${CI:+-seed=1} >"$output" 2>&1 || {
        tail -30 "$output" >&2
        failed=$(sed -n 's/.*Test unit written to //p' "$output" | tail -1)
        [ ! -f "$failed" ] || echo "$failed: $(base64 -w0 "$failed")" >&2
        return 1
    }
    executions=$(sed -n 's/^stat::number_of_executed_units: //p' "$output")
    edges=$(grep -o ' cov: [0-9]*' "$output" | tail -1)
    echo "$target: $executions executions, edges${edges#* cov}"
}

# Runs every other target, one after the other.
lane() {
    local at
    for ((at = $1; at < ${#targets[@]}; at += 2)); do fuzz "${targets[at]}" || return 1; done
}
status=0
lane 1 &
lane 0 || status=1
wait $! || status=1
exit $status
