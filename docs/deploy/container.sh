#!/usr/bin/env bash
# Writes an image with the command and its notices as an OCI archive, without a daemon or root. The
# same binary gives the same bytes. Needs tar, gzip and sha256sum. Building the command also needs
# the target for musl (`rustup target add x86_64-unknown-linux-musl`) and Debian's musl-tools.
#
#     docs/deploy/container.sh ARCHIVE [COMMAND]
#
# COMMAND is a statically linked feamoe; without it, one is built.
set -euo pipefail

[ $# = 1 ] || [ $# = 2 ] || { echo "usage: $0 ARCHIVE [COMMAND]" >&2; exit 2; }
umask 022
archive=$(realpath "$1") repository=$(realpath "$(dirname "$0")/../..")
case $(uname -m) in
    x86_64) architecture=amd64 target=x86_64-unknown-linux-musl ;;
    aarch64) architecture=arm64 target=aarch64-unknown-linux-musl ;;
    *) echo "found the machine $(uname -m), expected x86_64 or aarch64" >&2; exit 2 ;;
esac
if [ $# = 2 ]; then
    command=$(realpath "$2")
else
    cd "$repository"
    cargo build --quiet --release --locked -p feamoe --target $target
    command=$repository/target/$target/release/feamoe
fi
# The image has no loader. A program that needs one names it near its start.
if head -c 4096 "$command" | grep -q --text '/ld-'; then
    echo "$command is linked to libraries, which the image has none of; build it for $target" >&2
    exit 2
fi

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/root" "$place/oci/blobs/sha256"
install -m 755 "$command" "$place/root/feamoe"
# The static command contains code of other projects, including musl.
notices=$place/root/usr/share/doc/feamoe
mkdir -p "$notices"
install -m 644 "$repository"/{LICENSE-APACHE,LICENSE-MIT,docs/NOTICE.md,docs/deploy/musl-copyright.txt} "$notices"
same=(--sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar)
tar "${same[@]}" -C "$place/root" -cf "$place/layer.tar" feamoe usr
unpacked=$(sha256sum <"$place/layer.tar" | cut -d' ' -f1)
gzip -n "$place/layer.tar"

# Stores a file under its hash, and prints the reference to it.
blob() {
    local hash
    hash=$(sha256sum <"$2" | cut -d' ' -f1)
    printf '"mediaType": "%s", "digest": "sha256:%s", "size": %d' "$1" "$hash" "$(stat --format %s "$2")"
    mv "$2" "$place/oci/blobs/sha256/$hash"
}
readonly kind=application/vnd.oci.image
version=$("$command" --version | cut -d' ' -f2)
layer=$(blob $kind.layer.v1.tar+gzip "$place/layer.tar.gz")
cat >"$place/config" <<END
{"architecture": "$architecture", "os": "linux",
 "config": {"User": "65532:65532", "Entrypoint": ["/feamoe"], "WorkingDir": "/data",
  "Labels": {"org.opencontainers.image.title": "feamoe", "org.opencontainers.image.version": "$version",
   "org.opencontainers.image.licenses": "MIT OR Apache-2.0"}},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$unpacked"]}}
END
config=$(blob $kind.config.v1+json "$place/config")
cat >"$place/manifest" <<END
{"schemaVersion": 2, "mediaType": "$kind.manifest.v1+json", "config": {$config}, "layers": [{$layer}]}
END
manifest=$(blob $kind.manifest.v1+json "$place/manifest")
cat >"$place/oci/index.json" <<END
{"schemaVersion": 2, "mediaType": "$kind.index.v1+json", "manifests": [{$manifest,
 "platform": {"architecture": "$architecture", "os": "linux"},
 "annotations": {"org.opencontainers.image.ref.name": "feamoe:$version"}}]}
END
printf '{"imageLayoutVersion": "1.0.0"}' >"$place/oci/oci-layout"
tar "${same[@]}" -C "$place/oci" -cf "$archive" oci-layout index.json blobs
echo "$archive: feamoe $version for $architecture, $(stat --format %s "$archive") bytes"
