#!/usr/bin/env bash
# Builds the wheel and runs every check of the module for Python: format and lints of its Rust, its
# size, its types, its tests, the notebooks. Python packages go into target/python and stay there.
# FEAMOE_DATA names a folder with the real data sets; without it, tests that need them are skipped.
# FEAMOE_SPARK=1 adds tests on Spark: pyspark takes half a gigabyte and needs Java 17. Exit code 3:
# Python or its packages could not be installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The largest size of a wheel, since people download it.
most_bytes=$((6 * 1000 * 1000))

environment=$PWD/target/python/venv
{
    { [ -x "$environment/bin/python" ] || "${PYTHON:-python3}" -m venv "$environment"; } &&
        "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement trainer/python/requirements.txt
} >&2 || { echo "no module for Python: Python 3.10 or newer, or its packages, could not be had" >&2; exit 3; }

if [ "${FEAMOE_SPARK:-}" = 1 ]; then
    "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement trainer/python/requirements-spark.txt
fi

cargo fmt --check --manifest-path trainer/python/Cargo.toml
# The folder of the command's build, so that Arrow and Parquet are compiled only once.
export CARGO_TARGET_DIR=$PWD/target PYO3_PYTHON=$environment/bin/python
cargo build --quiet --release --locked -p feamoe
export FEAMOE_COMMAND=$CARGO_TARGET_DIR/release/feamoe

wheels=target/python/wheels
rm -rf "$wheels"
"$environment/bin/maturin" build --quiet --release --locked --strip --manifest-path trainer/python/Cargo.toml --interpreter "$environment/bin/python" --out "$wheels"
bytes=$(stat --format %s "$wheels"/*.whl)
if [ "$bytes" -gt "$most_bytes" ]; then
    echo "the wheel has $bytes bytes, expected $most_bytes at most" >&2
    exit 1
fi
echo "$(basename "$wheels"/*.whl): $bytes bytes"
cargo clippy --quiet --locked --manifest-path trainer/python/Cargo.toml -- -D warnings
"$environment/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheels"/*.whl

# In another folder, so that the tests import the installed package and not the folder beside them.
tests=$PWD/trainer/python/tests
cd "$(mktemp -d)"
# scikit-learn also has checks for arrays of other libraries.
export SCIPY_ARRAY_API=1
without_spark=()
if [ "${FEAMOE_SPARK:-}" != 1 ]; then
    echo "on Spark nothing was tested: FEAMOE_SPARK is not 1"
    without_spark=(--ignore "$tests/test_spark.py" --deselect "test_deploy.py::test_blocks_print_what_stands_below_them[spark]")
fi
exec "$environment/bin/python" -m pytest -p no:cacheprovider --rootdir "$tests" "$tests" "${without_spark[@]}" ${CI:+-rs}
