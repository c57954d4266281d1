#!/usr/bin/env bash
# Installs what the firmware needs and is missing: core for the board's target and its emulator.
# This is for the Cortex-M4F, or with --all for every board of firmware-example/boards.txt. Asks
# nothing, and changes nothing that is installed. Prints the targets that are ready. Fails without
# the Cortex-M4F's target.
#
# Tried in this order: what is installed, `rustup target add`, Debian packages (as root or by sudo
# without a password). With Debian's compiler, core is built once from its sources into
# firmware-example/.toolchain, which firmware-example/.cargo/config.toml includes: the command is
# `cargo run --release` either way. FEAMOE_TOOLCHAIN=rustup or =debian allows only that way.
set -euo pipefail
cd "$(dirname "$0")"

readonly toolchain=firmware-example/.toolchain
readonly only="${FEAMOE_TOOLCHAIN:-}"

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null; }

# Targets and emulators, in the order of the boards.
targets=() emulators=()
while read -r target _ _ _ _ _ _ emulator _; do
    targets+=("$target")
    emulators+=("$emulator")
done < <(grep -v '^#' firmware-example/boards.txt)
case "$*" in
    --all) ;;
    "") targets=("${targets[0]}") ;;
    *)
        say "the only option is --all, found $*"
        exit 2
        ;;
esac

fail() {
    say "$1"
    say "By hand: 'rustup target add ${targets[0]}' (Rust 1.90 or newer), and QEMU's ARM system emulator"
    say "(Debian, Ubuntu: qemu-system-arm; Fedora: qemu-system-arm-core; Arch: qemu-system-arm; macOS: brew install qemu)."
    exit 1
}

apt_updated=no
# Installs Debian packages without asking; fails if that is impossible.
apt_install() {
    have apt-get || return 1
    local -a as_root=()
    if [ "$(id -u)" != 0 ]; then
        { have sudo && sudo -n true 2>/dev/null; } || return 1
        as_root=(sudo -n)
    fi
    if [ $apt_updated = no ]; then
        "${as_root[@]}" apt-get update -qq >&2 || return 1
        apt_updated=yes
    fi
    say "installing $*"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Returns whether the compiler that cargo would call has core for a target.
rustc_has_target() {
    have rustc || return 1
    local libraries
    libraries=$(cd firmware-example && rustc --print target-libdir --target "$1" 2>/dev/null) || return 1
    compgen -G "$libraries/libcore-*.rlib" >/dev/null
}

add_by_rustup() {
    have rustup || return 1
    say "adding the target $1 by rustup"
    (cd firmware-example && timeout 300 rustup target add "$1" >/dev/null 2>&1) && rustc_has_target "$1"
}

# Returns whether /usr/bin has cargo, and a compiler with the sources of core.
debian_is_there() {
    local sysroot
    sysroot=$(/usr/bin/rustc --print sysroot 2>/dev/null) && [ -d "$sysroot/lib/rustlib/src/rust/library/core" ] &&
        [ -x /usr/bin/cargo ] && have ld.lld
}

# What the built core depends on: compiler, folder, targets.
debian_stamp() { echo "$(/usr/bin/rustc --version) $PWD ${targets[*]}"; }

debian_is_ready() {
    debian_is_there && [[ "$(cat "$toolchain/built-by" 2>/dev/null)" = "$(debian_stamp)"* ]]
}

debian_has_target() { [ -d "$toolchain/sysroot/lib/rustlib/$1" ]; }

# Builds core with Debian's compiler for every target without an operating system, as a separate
# sysroot, and configures cargo to use both.
build_core() {
    local build="$toolchain/build" libraries target
    rm -rf "$toolchain"
    mkdir -p "$build/src"
    printf '[package]\nname = "core-for-target"\nedition = "2024"\n[workspace]\n' >"$build/Cargo.toml"
    printf '#![no_std]\n' >"$build/src/lib.rs"
    cat >"$toolchain/cargo.toml" <<END
# Written by setup.sh; remove this folder to go back to the compiler that cargo calls by itself.
[build]
rustc = "/usr/bin/rustc"
END
    for target in "${targets[@]}"; do
        case "$target" in *-none-*) ;; *) continue ;; esac
        say "building core for $target with $(/usr/bin/rustc --version)"
        # The bitcode stays in the libraries, because the firmware is optimised across crates.
        (cd "$build" && RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR=target \
            /usr/bin/cargo build -q --release --target "$target" -Zbuild-std=core)
        libraries="$toolchain/sysroot/lib/rustlib/$target/lib"
        mkdir -p "$libraries"
        cp "$build/target/$target"/release/deps/lib{core,compiler_builtins}-*.rlib "$libraries/"
        cat >>"$toolchain/cargo.toml" <<END

[target.$target]
linker = "ld.lld"
rustflags = ["--sysroot=$PWD/$toolchain/sysroot"]
END
    done
    rm -rf "$build"
    # Written last: it shows that everything else is complete.
    debian_stamp >"$toolchain/built-by"
}

get_by_apt() { debian_is_there || { apt_install rustc-web cargo-web rust-web-src rust-web-clippy lld && debian_is_there; }; }

case "$only" in
    "" | rustup | debian) ;;
    *) fail "FEAMOE_TOOLCHAIN is '$only'; known are rustup and debian" ;;
esac

# Installs an emulator, and the packages for linking its programs.
bring_emulator() {
    case "$1" in
        qemu-system-arm) have "$1" || apt_install "$1" ;;
        qemu-system-riscv32) have "$1" || apt_install qemu-system-misc ;;
        qemu-s390x)
            have s390x-linux-gnu-gcc || apt_install gcc-s390x-linux-gnu libc6-dev-s390x-cross || return 1
            have "$1" || apt_install qemu-user
            ;;
    esac && have "$1"
}

# `set -e` applies inside build_core only if it is called outside any condition. So the choice comes
# first and the work after it.
if [ "$only" != debian ] && rustc_has_target "${targets[0]}"; then
    way=rustup
elif [ "$only" != rustup ] && debian_is_ready; then
    way=debian
elif [ "$only" != debian ] && add_by_rustup "${targets[0]}"; then
    way=rustup
elif [ "$only" != rustup ] && get_by_apt; then
    way=debian
else
    fail "no compiler for ${targets[0]}: none is installed, and ${only:-rustup and apt-get} could not bring one (no network, or no rights?)"
fi
if [ $way = rustup ]; then
    rm -rf "$toolchain"
elif ! debian_is_ready; then
    build_core
fi

ready=()
for i in "${!targets[@]}"; do
    target=${targets[$i]} emulator=${emulators[$i]}
    if [ $way = rustup ]; then
        rustc_has_target "$target" || add_by_rustup "$target" || {
            say "left out: no compiler for $target ('rustup target add $target' failed)"
            continue
        }
    elif ! debian_has_target "$target"; then
        say "left out: no compiler for $target (Debian's has no std for it: it takes rustup)"
        continue
    fi
    bring_emulator "$emulator" || {
        say "left out: $emulator, or what it needs, is missing and could not be installed"
        continue
    }
    ready+=("$target")
done
# For --all also: the compiler of the C example, the browser that opens the report, and the target
# of the module for it.
if [ "$*" = --all ]; then
    { have arm-none-eabi-gcc && have make; } || apt_install gcc-arm-none-eabi libnewlib-arm-none-eabi make ||
        say "left out: the C example (arm-none-eabi-gcc or make is missing and could not be installed)"
    # Only what is missing: a node from another source includes npm, which conflicts with Debian's.
    absent=()
    have chromium || absent+=(chromium)
    have node || absent+=(nodejs)
    have npm || absent+=(npm)
    [ ${#absent[@]} = 0 ] || apt_install "${absent[@]}" ||
        say "left out: the report in a browser (${absent[*]} missing and could not be installed)"
    readonly web=wasm32-unknown-unknown
    compgen -G "$(rustc --print target-libdir --target $web 2>/dev/null)/libcore-*.rlib" >/dev/null ||
        { have rustup && timeout 300 rustup target add $web >/dev/null 2>&1; } ||
        say "left out: the module for JavaScript ('rustup target add $web' failed)"
    { have cmake && have pkg-config; } || apt_install cmake pkg-config ||
        say "left out: the C library by CMake (cmake or pkg-config is missing and could not be installed)"
    have strace || apt_install strace ||
        say "left out: systems that fail (strace, which makes them fail, is missing and could not be installed)"
    have valgrind || apt_install valgrind ||
        say "left out: instruction counts (valgrind is missing and could not be installed)"
    # Programs for the pages of docs/deploy. Debian starts the brokers as services, which nobody
    # wants on a personal machine.
    if [ -n "${CI:-}" ]; then
        absent=()
        for program in mosquitto mosquitto_sub:mosquitto-clients nats-server kcat umoci; do
            PATH=$PATH:/usr/sbin have "${program%:*}" || absent+=("${program#*:}")
        done
        [ ${#absent[@]} = 0 ] || apt_install "${absent[@]}" ||
            say "left out: parts of docs/deploy (${absent[*]} missing and could not be installed)"
    fi
fi
echo "${ready[*]}"
[ "${ready[0]:-}" = "${targets[0]}" ] || fail "the Cortex-M4F is not ready"
say "ready: cd firmware-example && cargo run --release"
