#!/usr/bin/env bash
# Runs a command such as `cargo build --release` so that its output has the same bytes wherever the
# repository and cargo's home are, and names neither folder. Crates may come from the registry or be
# vendored.
set -euo pipefail

# Acts as the wrapper of rustc.
if [ "${FEAMOE_REPRODUCIBLE:-}" = rustc ]; then
    arguments=("$@") kind=
    for at in "${!arguments[@]}"; do
        case ${arguments[at]} in
            --crate-name) name=${arguments[at + 1]} ;;
            --crate-type) kind+=-${arguments[at + 1]} ;;
            metadata=*) metadata=$at ;;
        esac
    done
    # Cargo puts one of these files into the folder of each package that is not ours.
    package=${CARGO_MANIFEST_DIR:-}
    if [ -e "$package/.cargo-ok" ] || [ -e "$package/.cargo-checksum.json" ]; then
        arguments+=("--remap-path-prefix=$package=$CARGO_PKG_NAME-$CARGO_PKG_VERSION")
    elif [ -n "${metadata:-}" ]; then
        # Cargo names crates by a hash. For our own packages it covers their folder, and it
        # determines the order of symbols. So ours are named by name and kind instead.
        arguments[metadata]=metadata=$name$kind
    fi
    exec "${arguments[@]}"
fi

repository=$(cd "$(dirname "$0")/.." && pwd -P)
home=$(cd "${CARGO_HOME:-$HOME/.cargo}" && pwd)
export FEAMOE_REPRODUCIBLE=rustc RUSTC_WRAPPER=$repository/engine/reproducible.sh
# Flags are separated by cargo's separator, so that a folder's name may contain a space.
if [ -z "${CARGO_ENCODED_RUSTFLAGS:-}" ]; then
    read -ra flags <<<"${RUSTFLAGS:-}"
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}")
fi
for remapped in "$home=cargo" "$repository=feamoe"; do
    CARGO_ENCODED_RUSTFLAGS+=${CARGO_ENCODED_RUSTFLAGS:+$'\x1f'}--remap-path-prefix=$remapped
done
export CARGO_ENCODED_RUSTFLAGS
exec "$@"
