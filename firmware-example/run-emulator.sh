#!/usr/bin/env bash
# Runs a firmware image in its board's emulator: run-emulator.sh ELF [ARGUMENT...]. The board is
# that of the target (see boards.txt) in whose folder cargo put the image, or of the target that
# FEAMOE_BOARD names. Standard output is the firmware's, which can access the files of the working
# folder.
set -eu
image=$1
board=${FEAMOE_BOARD:+/$FEAMOE_BOARD/}
emulator=
while read -r target _ _ _ _ _ _ line; do
    case "${board:-$image}" in */"$target"/*) emulator=$line ;; esac
done < <(grep -v '^#' "$(dirname "$0")/boards.txt")
[ -n "$emulator" ] || {
    echo "$image: no folder of its path names a target of boards.txt" >&2
    exit 2
}
command -v "${emulator%% *}" >/dev/null || {
    echo "${emulator%% *} is missing: run setup.sh --all in the folder above, or install QEMU" >&2
    exit 2
}
case "$emulator" in
    qemu-system-*) emulator="$emulator -nographic -monitor none -serial none -semihosting-config enable=on,target=native -kernel" ;;
esac
# shellcheck disable=SC2086 # the line is words
exec $emulator "$@"
