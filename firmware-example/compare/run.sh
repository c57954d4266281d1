#!/usr/bin/env bash
# Compares the cost of a score on a Cortex-M4F: our engine, the same mixture in naive C, emlearn's
# perceptron and m2cgen's LightGBM. Prints a Markdown table. FEAMOE_DATA names the folder with
# adult.data and adult.test. Python packages go into target/compare; ../../setup.sh installs
# compilers and emulator. Exit code 3: the Python packages could not be installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in arm-none-eabi-gcc qemu-system-arm; do
    command -v $tool >/dev/null || { echo "$tool is missing: run setup.sh" >&2; exit 2; }
done
: "${FEAMOE_DATA:?names the folder with adult.data and adult.test}"
FEAMOE_DATA=$(cd "$FEAMOE_DATA" && pwd)
export FEAMOE_DATA

environment=target/compare/venv
{
    { [ -x $environment/bin/python ] || "${PYTHON:-python3}" -m venv $environment; } &&
        $environment/bin/pip install --quiet --disable-pip-version-check --requirement firmware-example/compare/requirements.txt &&
        $environment/bin/python -c 'import emlearn, lightgbm, m2cgen, sklearn'
} >&2 || { echo "no comparison: Python's packages could not be installed" >&2; exit 3; }
cargo build --quiet --release --locked -p feamoe
exec $environment/bin/python firmware-example/compare/compare.py
