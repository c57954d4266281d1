#!/usr/bin/env bash
# Brings what the firmware needs and is missing: core for thumbv7em-none-eabihf and an ARM emulator. Asks nothing; changes nothing that is there.
#
# Tried in this order: what is installed, `rustup target add`, Debian packages (as root or by sudo without a password). With Debian's
# compiler, core is built once from its sources into firmware-example/.toolchain, and firmware-example/.cargo/config.toml picks that up:
# `cargo run --release` is the same command either way. FEAMOE_TOOLCHAIN=rustup or =debian allows only that way.
set -euo pipefail
cd "$(dirname "$0")"

readonly target=thumbv7em-none-eabihf
readonly toolchain=firmware-example/.toolchain
readonly only="${FEAMOE_TOOLCHAIN:-}"

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null; }

fail() {
    say "$1"
    say "By hand: 'rustup target add $target' (Rust 1.95 or newer), and QEMU's ARM system emulator"
    say "(Debian, Ubuntu: qemu-system-arm; Fedora: qemu-system-arm-core; Arch: qemu-system-arm; macOS: brew install qemu)."
    exit 1
}

apt_updated=no
# Installs Debian packages without a question; fails where that is impossible.
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

# Does the compiler that cargo would call here hold core for the target?
rustc_has_target() {
    have rustc || return 1
    local libraries
    libraries=$(cd firmware-example && rustc --print target-libdir --target $target 2>/dev/null) || return 1
    compgen -G "$libraries/libcore-*.rlib" >/dev/null
}

add_by_rustup() {
    have rustup || return 1
    say "adding the target $target by rustup"
    (cd firmware-example && timeout 300 rustup target add $target >/dev/null 2>&1) && rustc_has_target
}

# Does /usr/bin hold a cargo, and a compiler with the sources of core?
debian_is_there() {
    local sysroot
    sysroot=$(/usr/bin/rustc --print sysroot 2>/dev/null) && [ -d "$sysroot/lib/rustlib/src/rust/library/core" ] &&
        [ -x /usr/bin/cargo ] && have ld.lld
}

# What the built core depends on: compiler and place.
debian_stamp() { echo "$(/usr/bin/rustc --version) $PWD"; }

debian_is_ready() {
    debian_is_there && [ "$(cat "$toolchain/built-by" 2>/dev/null)" = "$(debian_stamp)" ]
}

# Builds core for the target with Debian's compiler, as a sysroot of its own, and tells cargo to use both.
build_core() {
    local build="$toolchain/build" libraries="$toolchain/sysroot/lib/rustlib/$target/lib"
    say "building core for $target with $(/usr/bin/rustc --version)"
    rm -rf "$toolchain"
    mkdir -p "$build/src" "$libraries"
    printf '[package]\nname = "core-for-target"\nedition = "2024"\n[workspace]\n' >"$build/Cargo.toml"
    printf '#![no_std]\n' >"$build/src/lib.rs"
    # The bitcode stays in the libraries, because the firmware is optimised across crates.
    (cd "$build" && RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR=target \
        /usr/bin/cargo build -q --release --target $target -Zbuild-std=core)
    cp "$build/target/$target"/release/deps/lib{core,compiler_builtins}-*.rlib "$libraries/"
    rm -rf "$build"
    cat >"$toolchain/cargo.toml" <<END
# Written by setup.sh; remove this folder to go back to the compiler that cargo calls by itself.
[build]
rustc = "/usr/bin/rustc"

[target.$target]
linker = "ld.lld"
rustflags = ["--sysroot=$PWD/$toolchain/sysroot"]
END
    # Last: its presence says that all the rest is complete.
    debian_stamp >"$toolchain/built-by"
}

get_by_apt() { debian_is_there || { apt_install rustc-web cargo-web rust-web-src rust-web-clippy lld && debian_is_there; }; }

case "$only" in
    "" | rustup | debian) ;;
    *) fail "FEAMOE_TOOLCHAIN is '$only'; known are rustup and debian" ;;
esac

# `set -e` holds for build_core only where it is called outside any condition: so the choice comes first, the work after it.
if [ "$only" != debian ] && rustc_has_target; then
    way=rustup
elif [ "$only" != rustup ] && debian_is_ready; then
    way=debian
elif [ "$only" != debian ] && add_by_rustup; then
    way=rustup
elif [ "$only" != rustup ] && get_by_apt; then
    way=debian
else
    fail "no compiler for $target: none is installed, and ${only:-rustup and apt-get} could not bring one (no network, or no rights?)"
fi
if [ $way = rustup ]; then
    rm -rf "$toolchain"
elif ! debian_is_ready; then
    build_core
fi
have qemu-system-arm || apt_install qemu-system-arm || fail "no emulator: qemu-system-arm is missing and could not be installed"
say "ready: cd firmware-example && cargo run --release"
