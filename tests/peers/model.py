"""An independent reader of model files, and the mixture in NumPy f64, straight from the layout that `engine/src/blob.rs` draws.

Rows are matrices of raw features coded as numbers: a number as it is, NaN where missing; a category as its level's code, with L levels L for an
unseen one and L + 1 for a missing one. Run as a program, it compares the scores with `feamoe score` on every record of adult.test.
"""

import csv
import os
import struct
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMA = REPOSITORY / "trainer/schemas/adult.toml"
GOLDEN = REPOSITORY / "engine/golden"
MODELS = [GOLDEN / "adult-gentle.feamoe", GOLDEN / "adult-gated.feamoe"]
FEAMOE = os.environ.get("FEAMOE", str(REPOSITORY / "target/release/feamoe"))
# Largest difference of a score from the engine's, which sums in f32.
TOLERANCE = 1e-5
# Rows whose logits are in the cache at once.
BLOCK = 1024


def data_file(name):
    """A file of the folder that FEAMOE_DATA names."""
    if "FEAMOE_DATA" not in os.environ:
        sys.exit("FEAMOE_DATA is not set: name the folder with adult.data and adult.test")
    return Path(os.environ["FEAMOE_DATA"]) / name


class Payload:
    """Walks a postcard message."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        taken = self.data[self.at : self.at + count]
        if len(taken) < count:
            raise ValueError(f"the message ends at byte {len(self.data)}, in the middle of a value")
        self.at += count
        return taken

    def varint(self):
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def f32(self):
        return struct.unpack("<f", self.take(4))[0]

    def bytes(self):
        return self.take(self.varint())

    def string(self):
        return self.bytes().decode()


class Feature:
    """A raw feature: its kind, and where its rows of weights begin."""

    def __init__(self, payload, first_row):
        self.first_row = first_row
        self.is_number = payload.varint() == 0
        if self.is_number:
            self.is_log1p = payload.varint() == 1
            self.low, self.high, self.centre = payload.f32(), payload.f32(), payload.f32()
            self.bins = payload.varint()
            self.rows = self.bins + 2
        else:
            self.level_count = payload.varint()
            self.rows = self.level_count + 2

    def code(self, cell):
        """The number that stands for a cell; None is missing."""
        if self.is_number:
            return np.nan if cell is None else float(np.float32(cell))
        if cell is None:
            return self.level_count + 1
        return self.levels.index(cell) if cell in self.levels else self.level_count

    def transformed(self, column):
        """The centred number, 0 where missing."""
        inside = np.clip(column, self.low, self.high)
        return np.nan_to_num((np.log1p(inside) if self.is_log1p else inside) - self.centre)

    def terms(self, column):
        """What a column adds to the logits: pairs of rows of weights and their factors, one or the other the same for all."""
        if not self.is_number:
            return [(self.first_row + column.astype(int), 1.0)]
        is_missing = np.isnan(column)
        linear, missing, first_bin = range(self.first_row, self.first_row + 3)
        terms = [(linear, self.transformed(column)[:, None])]
        if self.bins > 0:
            bins = first_bin + np.searchsorted(self.edges, np.clip(column, self.low, self.high), side="right")
            terms.append((np.where(is_missing, missing, bins), 1.0))
        elif is_missing.any():
            terms.append((missing, is_missing[:, None]))
        return terms


class Model:
    """A mixture of logistic experts under a softmax gate; logits in natural units."""

    def __init__(self, path):
        blob = Path(path).read_bytes()
        magic, version, flags, length, crc = struct.unpack("<4sHHII", blob[:16])
        if (magic, version, length) != (b"FEAM", 1, len(blob) - 16) or zlib.crc32(blob[:12] + blob[16:]) != crc:
            raise ValueError(f"{path}: not a model of format version 1, or damaged")
        payload = Payload(blob[16:])
        self.experts = payload.take(1)[0]
        payload.take(4)  # the threshold
        payload.varint(), payload.take(32), payload.varint()  # training rows, digest of the data, seed
        payload.varint(), payload.varint(), payload.varint()  # version of the trainer
        self.features, rows = [], 0
        for _ in range(payload.varint()):
            self.features.append(Feature(payload, rows))
            rows += self.features[-1].rows
        for bit in range(16):
            if flags >> bit & 1:
                section = Payload(payload.bytes())
                if bit == 8:
                    self.read_names(section)
        payload.bytes()  # padding
        values = np.frombuffer(payload.bytes(), "<f4").astype(float)
        stride = -(-2 * self.experts // 4) * 4
        lanes = values[: (rows + 1) * stride].reshape(rows + 1, stride)[:, : 2 * self.experts] * np.log(2)
        self.bias, self.rows = lanes[0], np.ascontiguousarray(lanes[1:])
        edges = values[(rows + 1) * stride :]
        for feature in self.features:
            if feature.is_number:
                feature.edges, edges = np.split(edges, [max(feature.bins - 1, 0)])

    def read_names(self, section):
        section.string()  # the favourable outcome
        for feature in self.features:
            feature.name = section.string()
            if not feature.is_number:
                feature.levels = [section.string() for _ in range(feature.level_count)]

    def coded(self, records):
        """The matrix of records, each a dictionary of cells by column name."""
        return np.array([[feature.code(record[feature.name]) for feature in self.features] for record in records])

    def logits(self, matrix):
        """For each row the logits of the gate, then those of the experts."""
        logits = np.tile(self.bias, (len(matrix), 1))
        for feature, column in zip(self.features, matrix.T):
            for rows, factors in feature.terms(column):
                logits += factors * self.rows[rows]
        return logits

    def design(self, matrix):
        """The encoded matrix: the logits are the bias and its product with the rows of weights."""
        design = np.zeros((len(matrix), len(self.rows)))
        for feature, column in zip(self.features, matrix.T):
            for rows, factors in feature.terms(column):
                design[np.arange(len(matrix)), rows] += np.ravel(factors)
        return design

    def in_blocks(self, matrix, combine):
        matrix = np.asarray(matrix, float)
        starts = range(0, len(matrix), BLOCK)
        return np.concatenate([combine(*np.split(self.logits(matrix[i : i + BLOCK]), 2, axis=1)) for i in starts])

    def probability(self, matrix):
        """The score p of each row."""
        return self.in_blocks(matrix, lambda gate, outputs: (softmax(gate) * sigmoid(outputs)).sum(axis=1))

    def log_odds(self, matrix):
        """The natural log-odds of p of each row."""

        def combine(gate, outputs):
            weights = softmax(gate)
            return np.log((weights * sigmoid(outputs)).sum(axis=1) / (weights * sigmoid(-outputs)).sum(axis=1))

        return self.in_blocks(matrix, combine)


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def sigmoid(z):
    with np.errstate(over="ignore"):  # 1 / inf is the right 0
        return 1.0 / (1.0 + np.exp(-z))


def adult(name):
    """The records of an Adult file, in the order in which `feamoe score` numbers them from 1."""
    table = tomllib.loads(SCHEMA.read_text())["table"]
    with open(data_file(name), newline="") as file:
        lines = (line for line in file if line.strip() and not line.startswith(table["comment"]))
        cells = ([cell.strip() for cell in row] for row in csv.reader(lines))
        return [
            {column: None if cell in table["missing"] else cell for column, cell in zip(table["columns"], row, strict=True)}
            for row in cells
        ]


def feamoe(*arguments):
    """The standard output of the command."""
    return subprocess.run([FEAMOE, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


def check(path):
    """Compares the scores of adult.test with those of `feamoe score`."""
    model = Model(path)
    scores = csv.DictReader(feamoe("score", path, data_file("adult.test"), "--schema", SCHEMA).splitlines())
    expected = np.array([float(row["probability"]) for row in scores])
    difference = np.abs(model.probability(model.coded(adult("adult.test"))) - expected).max()
    print(f"{path.name}: {model.experts} experts, {len(expected)} scores, largest difference {difference:.1e}")
    if not difference <= TOLERANCE:
        sys.exit(f"{path}: the scores differ by {difference}, expected at most {TOLERANCE}")


if __name__ == "__main__":
    for path in MODELS:
        check(path)
