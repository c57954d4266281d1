#!/usr/bin/env bash
# Runs a firmware image in the emulator: run-emulator.sh ELF. What the firmware prints goes to standard output; it sees the working folder's files.
# One instruction takes exactly 1024 ns of virtual time (icount shift=10): that is how the firmware counts its instructions.
set -eu
command -v qemu-system-arm >/dev/null || {
    echo "qemu-system-arm is missing: run setup.sh in the folder above, or install QEMU's ARM system emulator" >&2
    exit 2
}
exec qemu-system-arm -M mps2-an386 -cpu cortex-m4 -nographic -monitor none -serial none \
    -icount shift=10,sleep=off -semihosting-config enable=on,target=native -kernel "$1"
