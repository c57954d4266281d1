"""The pages of docs/deploy run as printed."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "deploy"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The packages that the blocks of a page import, and the programs that those of a section start.
PACKAGES = {"dask": ["dask"], "mlflow": ["mlflow"], "spark": ["pyspark"], "sql": ["duckdb", "datafusion"]}
PROGRAMS = ["kcat", "mosquitto", "mosquitto_sub", "nats-server"]


def blocks(text: str) -> list[tuple[str, str]]:
    return [match.groups() for match in BLOCK.finditer(text)]


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def sections(name: str) -> tuple[str, list]:
    """What stands before the sections of a page, and each of them."""
    before, *parts = re.split("^## ", page(name), flags=re.MULTILINE)
    return before, [pytest.param(part, id=part.partition("\n")[0]) for part in parts]


BEFORE, SECTIONS = sections("pipes")


def test_there_are_pages():
    assert sorted(page.stem for page in FOLDER.glob("*.md")) == ["container", "dask", "mlflow", "pipes", "spark", "sql"]


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_blocks_print_what_stands_below_them(name, tmp_path, monkeypatch):
    if name == "spark":
        if os.environ.get("FEAMOE_SPARK") != "1":
            pytest.skip("FEAMOE_SPARK is not 1")
        monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    for package in PACKAGES[name]:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    of_page = blocks(page(name))
    assert {kind for kind, _ in of_page} == {"python", "text"}
    names = {}
    for (kind, code), (below, stated) in zip(of_page, [*of_page[1:], ("", "")], strict=True):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(compile(code, f"{name}.md", "exec"), names)
            assert printed.getvalue() == (stated if below == "text" else "")


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> dict[str, str]:
    """The environment in which `feamoe` is the command."""
    command = os.environ.get("FEAMOE_COMMAND")
    if command is None:
        pytest.skip("FEAMOE_COMMAND is not set: it names the command")
    folder = tmp_path_factory.mktemp("bin")
    (folder / "feamoe").symlink_to(command)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin"}


@pytest.fixture
def kafka(tmp_path, commands):
    """The address of a broker that the client library of Kafka imitates."""
    command = ["kcat", "-P", "-t", "none", "-b", "none:1", "-X", "test.mock.num.brokers=1", "-X", "debug=mock"]
    with subprocess.Popen(
        command, env=commands, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as broker:
        address = next(filter(None, (re.search(r"bootstrap.servers=(\S+)", line) for line in broker.stderr)))
        yield address[1]
        broker.kill()


@pytest.mark.parametrize("section", SECTIONS)
def test_lines_of_a_shell_print_what_stands_below_them(section, tmp_path, commands, request):
    lines = [code for kind, code in blocks(section) if kind == "sh"]
    words = set(re.findall(r"[\w-]+", "".join(lines)))
    for program in PROGRAMS:
        if program in words and shutil.which(program, path=commands["PATH"]) is None:
            pytest.skip(f"{program} is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        variables = {"PORT": str(free.getsockname()[1])}
    if "kcat" in words:
        variables["KAFKA"] = request.getfixturevalue("kafka")
    # The lines run as if typed into one shell; the output is split by block.
    mark = "---the next block---"
    script = f"printf '%s\\n' '{mark}'\n".join(["".join(code for _, code in blocks(BEFORE)), *lines])
    ran = subprocess.run(
        ["bash", "-eu", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"],
        cwd=tmp_path,
        env=commands | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    stated, of_section = [], blocks(section)
    for (kind, _), (below, text) in zip(of_section, [*of_section[1:], ("", "")], strict=True):
        if kind == "sh":
            stated.append(text if below == "text" else "")
    assert ran.stdout.split(f"{mark}\n") == ["", *stated], ran.stderr


def test_an_image_holds_the_command_and_its_notices(tmp_path):
    """Of a program in place of the command, which takes minutes to compile for musl."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and cc")
    (tmp_path / "program.c").write_text('int puts(const char *); int main(void) { return puts("feamoe 9.9.9") < 0; }')
    subprocess.run(["cc", "-static", "-o", "static", "program.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-o", "linked", "program.c"], cwd=tmp_path, check=True)

    def image(name, command):
        script = [FOLDER / "container.sh", tmp_path / name, tmp_path / command]
        return subprocess.run(script, capture_output=True, text=True, check=False)

    refused = image("linked.tar", "linked")
    assert refused.returncode == 2 and "is linked to libraries" in refused.stderr
    assert image("one.tar", "static").returncode == 0 and image("two.tar", "static").returncode == 0
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()

    with tarfile.open(tmp_path / "one.tar") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
        archive.extractall(tmp_path / "oci", filter="data")
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads(files.pop("index.json"))
    for name, content in files.items():
        assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"

    def blob(of):
        content = files.pop(of["digest"].replace("sha256:", "blobs/sha256/"))
        assert len(content) == of["size"]
        return content

    manifest = json.loads(blob(index["manifests"][0]))
    config = json.loads(blob(manifest["config"]))
    layer = gzip.decompress(blob(manifest["layers"][0]))
    assert files == {}
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "feamoe:9.9.9"
    assert (config["config"]["User"], config["config"]["Entrypoint"]) == ("65532:65532", ["/feamoe"])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        members = {member.name: member for member in inner if member.isfile()}
        assert all((member.uid, member.gid) == (0, 0) for member in inner)
        assert members["feamoe"].mode == 0o755
        held = {Path(name).name: inner.extractfile(member).read() for name, member in members.items()}
    assert held.pop("feamoe") == (tmp_path / "static").read_bytes()
    assert sorted(held) == ["LICENSE-APACHE", "LICENSE-MIT", "NOTICE.md", "musl-copyright.txt"]
    assert b"Rich Felker" in held["musl-copyright.txt"]
    # Another program can read the image.
    if shutil.which("umoci") is not None:
        unpack = ["umoci", "unpack", "--rootless", "--image", "oci:feamoe:9.9.9", "bundle"]
        subprocess.run(unpack, cwd=tmp_path, check=True, capture_output=True)
        assert [path.name for path in sorted((tmp_path / "bundle" / "rootfs").iterdir())] == ["feamoe", "usr"]
        process = json.loads((tmp_path / "bundle" / "config.json").read_text())["process"]
        assert (process["args"], process["cwd"]) == (["/feamoe"], "/data")
        assert (process["user"]["uid"], process["user"]["gid"]) == (65532, 65532)
