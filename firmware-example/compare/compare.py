"""Builds every contender as Cortex-M4F firmware, runs it in the emulator on the same rows, and prints one Markdown table.

All firmware: the same harness, the same 64 rows of adult.test, from raw numbers and codes to the probability, whatever encoding that takes. A score that is
not the contender's own on the host ends the comparison.
"""

import os
import re
import struct
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import emlearn

import contenders

FOLDER = Path(__file__).resolve().parent
FIRMWARE = FOLDER.parent
REPOSITORY = FIRMWARE.parent
BUILD = REPOSITORY / "target/compare"
TARGET = "thumbv7em-none-eabihf"
GCC = ["arm-none-eabi-gcc", "-std=c99", "-O3", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections,-z,noexecstack"]
GCC += ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-Wall", "-Wno-unused-function"]
GCC += ["--specs=nano.specs", "--specs=rdimon.specs", "-nostartfiles", "-T", str(FIRMWARE / "c/firmware.ld")]


def output(*command, **options):
    """The standard output of a command."""
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def rust(package, place, features="", **variables):
    """Builds a static library for the target, with the compiler of the firmware's folder; returns it."""
    folder = BUILD / "rust" / place
    output(
        *["cargo", "build", "--quiet", "--release", "--target", TARGET, "--target-dir", folder, "--features", features],
        *["--manifest-path", package / "Cargo.toml"],
        cwd=FIRMWARE,
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
    )
    return next((folder / TARGET / "release").glob("*.a"))


def ours(model, features=""):
    """Our engine with one of our models."""
    files = {"COMPARE_MODEL": BUILD / model / "adult.feamoe", "COMPARE_CONSTANTS": BUILD / model / "adult.rs"}
    # Features build anew but share what they depend on.
    return [rust(FOLDER / "ours", "ours", features, **files)]


def linked(name, sources, *flags):
    """Links a contender with the harness; returns its image."""
    # In a folder of the target's name, which tells run-emulator.sh the board.
    image = BUILD / TARGET / f"{name}.elf"
    image.parent.mkdir(exist_ok=True)
    common = [FOLDER / "harness.c", FIRMWARE / "c/startup.c", "-I", FOLDER, "-I", BUILD]
    output(*GCC, *common, *flags, *sources, "-lm", "-o", image)
    return image


def sizes(image):
    """Bytes of flash and of static RAM."""
    text, data, bss = map(int, output("arm-none-eabi-size", image).splitlines()[1].split()[:3])
    return text + data, data + bss


def run(image):
    """Scores, instructions of each, and bytes of stack."""
    *lines, last = output(FIRMWARE / "run-emulator.sh", image).splitlines()
    pairs = [line.split() for line in lines]
    scores = [struct.unpack(">f", bytes.fromhex(bits))[0] for bits, _ in pairs]
    return scores, [int(count) for _, count in pairs], int(re.fullmatch(r"stack (\d+)", last)[1])


def main():
    BUILD.mkdir(parents=True, exist_ok=True)
    # emlearn writes to a folder `tmp` of the one it runs in.
    os.chdir(BUILD)
    judged = contenders.prepare(BUILD)
    experts = judged["experts"]
    c = lambda name: [FOLDER / name]
    from_c = lambda: [FOLDER / "capi.c", rust(REPOSITORY / "engine/c", "capi")]
    capi = ["-I", BUILD / "plain", "-I", REPOSITORY / "engine/c/include"]
    perceptron = ["-I", BUILD / "perceptron", "-isystem", emlearn.includedir]
    floats = ["-I", BUILD / "trees/float", "-DTREES_FLOAT", "-fsingle-precision-constant"]
    # Name, how it was judged, its sources, flags, largest difference of a score, attributions.
    rows = [
        (f"mixture of {experts}, naive C", "plain", c("naive.c"), ["-I", BUILD / "naive"], 1e-5, "no"),
        (f"**feamoe, the same {experts}**", "plain", lambda: ours("plain"), [], 1e-6, "no"),
        ("**... with `frozen`**", "plain", lambda: ours("plain", "frozen"), [], 1e-6, "gate held still"),
        ("**... with `path`**", "plain", lambda: ours("plain", "path"), [], 1e-6, "yes"),
        ("**... called from C**", "plain", from_c, capi, 1e-6, "no"),
        ("**feamoe as it trains by default (bins)**", "binned", lambda: ours("binned"), [], 1e-6, "no"),
        ("emlearn, perceptron 30-30", "perceptron", c("perceptron.c"), perceptron, 1e-4, "no"),
        ("m2cgen, LightGBM 100 x 15", "trees", c("trees.c"), ["-I", BUILD / "trees/double"], 1e-5, "no"),
        ("... doubles made floats by hand", "trees", c("trees.c"), floats, 1e-4, "no"),
    ]
    if "armv7em" in (REPOSITORY / "engine/Cargo.toml").read_text():
        kernel = lambda: ours("plain", "feamoe-engine/armv7em")
        rows.insert(2, ("**... with the assembly kernel**", "plain", kernel, [], 1e-6, "no"))

    base_flash, base_ram = sizes(linked("nothing", [FOLDER / "nothing.c"]))
    print("| what | instructions, mean (fewest to most) | flash | RAM | stack | accuracy | AUC | probability | attributions |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- |")
    figures = []
    for number, (name, judge, sources, flags, tolerance, attributions) in enumerate(rows):
        image = linked(f"contender-{number}", sources() if callable(sources) else sources, *flags)
        scores, counts, stack = run(image)
        expected = judged[judge]["expected"]
        difference = max(abs(found - wanted) for found, wanted in zip(scores, expected, strict=True))
        if not difference <= tolerance:
            sys.exit(f"{name}: a score differs by {difference:.1e} from the host's, expected at most {tolerance}")
        flash, ram = sizes(image)
        mean = sum(counts) / len(counts)
        figures.append((name, -judged[judge]["auc"], mean, flash))
        print(
            f"| {name} | {mean:,.0f} ({min(counts):,} to {max(counts):,}) | {flash - base_flash:,} | {ram - base_ram:,} | {stack:,} "
            f"| {judged[judge]['accuracy']:.4f} | {judged[judge]['auc']:.4f} | yes | {attributions} |",
            flush=True,
        )
    best = [min(figures, key=lambda figure: figure[column])[0] for column in [1, 2, 3]]
    print("\nHighest AUC: {}. Fewest instructions: {}. Least flash: {}.".format(*(name.strip("*") for name in best)))
    first = lambda *command: output(*command).splitlines()[0]
    packages = ", ".join(f"{name} {version(name)}" for name in ["emlearn", "m2cgen", "lightgbm", "scikit-learn"])
    compilers = f"{first('arm-none-eabi-gcc', '--version')}, -O3; {output('rustc', '--version', cwd=FIRMWARE).strip()}, opt-level 3"
    print(f"\n{len(expected)} rows; {packages}; {compilers}; {first('qemu-system-arm', '--version')}")


if __name__ == "__main__":
    main()
