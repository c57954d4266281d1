#!/usr/bin/env bash
# Compares with SHAP, in a separate virtual environment under target/: scores, plots, and with
# `compare` the table of times and errors; `record` writes the recorded values again. FEAMOE_DATA
# names the folder with adult.data and adult.test.
set -euo pipefail
cd "$(dirname "$0")/../.."

case "${1:-plots}" in
    plots) program=plots.py ;;
    compare) program=compare.py ;;
    record) program=record_values.py ;;
    *) echo "found \`$1\`, expected plots (the default), compare or record" >&2; exit 2 ;;
esac

environment=target/peers
if [ ! -x $environment/bin/python ]; then
    "${PYTHON:-python3}" -m venv $environment
fi
$environment/bin/pip install --quiet --disable-pip-version-check --requirement tests/peers/requirements.txt
cargo build --quiet --release --locked -p feamoe

cd tests/peers
python() { ../../$environment/bin/python "$@"; }
python model.py
python $program
