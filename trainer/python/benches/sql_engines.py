"""Scores of 2,000,000 rows by SQL engines in this process, against the package's own in the same
run: ``python trainer/python/benches/sql_engines.py FOLDER``, adult.data and adult.test being in
FOLDER."""

import sys
from pathlib import Path

import datafusion
import duckdb
import pyarrow as pa
from adult import read, seconds

import feamoe
import feamoe.sql

ROWS = 2_000_000


def main() -> None:
    folder = Path(sys.argv[1])
    model = feamoe.Learner.fit(read(folder, "adult.data"), target="income", positive=">50K").export()
    test = read(folder, "adult.test")
    table = pa.Table.from_pandas(test, preserve_index=False)
    table = pa.concat_tables([table] * (ROWS // len(test) + 1)).slice(0, ROWS).combine_chunks()
    own = seconds(lambda: model.predict_proba(table))
    print(f"feamoe, from Arrow: {own:.2f} s, {ROWS / own:,.0f} rows/s")

    connection = duckdb.connect()
    connection.register("arrow", table)
    connection.sql("CREATE TABLE rows AS SELECT * FROM arrow")
    call = feamoe.sql.duckdb(connection, model)
    taken = seconds(lambda: connection.sql(f"SELECT avg({call}) FROM rows").fetchall())
    print(f"DuckDB: {taken:.2f} s, {taken / own:.2f} times")

    context = datafusion.SessionContext()
    context.register_record_batches("rows", [table.to_batches(max_chunksize=65_536)])
    call = feamoe.sql.datafusion(context, model)
    taken = seconds(lambda: context.sql(f"SELECT avg({call}) FROM rows").collect())
    print(f"DataFusion: {taken:.2f} s, {taken / own:.2f} times")


main()
