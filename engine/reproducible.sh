#!/usr/bin/env bash
# Runs a command such as `cargo build --release` so that what it builds has the same bytes wherever
# the repository and cargo's home lie, and names neither folder.
set -euo pipefail

# As the wrapper of rustc. Cargo names crates by a hash; for our own packages that hash includes
# their folder, and the order of symbols follows it. Our packages are named by name and kind
# instead. Packages of the registry keep their hash.
if [ "${FEAMOE_REPRODUCIBLE:-}" = rustc ]; then
    arguments=("$@") own=yes kind=
    for at in "${!arguments[@]}"; do
        case ${arguments[at]} in
            "$FEAMOE_CARGO_HOME"/registry/*.rs) own=no ;;
            --crate-name) name=${arguments[at + 1]} ;;
            --crate-type) kind+=-${arguments[at + 1]} ;;
            metadata=*) metadata=$at ;;
        esac
    done
    [ $own = no ] || [ -z "${metadata:-}" ] || arguments[metadata]=metadata=$name$kind
    exec "${arguments[@]}"
fi

repository=$(cd "$(dirname "$0")/.." && pwd -P)
FEAMOE_CARGO_HOME=$(cd "${CARGO_HOME:-$HOME/.cargo}" && pwd)
export FEAMOE_CARGO_HOME FEAMOE_REPRODUCIBLE=rustc RUSTC_WRAPPER=$repository/engine/reproducible.sh
export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$FEAMOE_CARGO_HOME=cargo --remap-path-prefix=$repository=feamoe"
exec "$@"
