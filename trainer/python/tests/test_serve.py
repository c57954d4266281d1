"""What `feamoe serve` answers is what its description by OpenAPI says, whatever is asked."""

import os
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("schemathesis")

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method"
)
TOKEN = "a-token-of-the-tests"


@pytest.fixture
def service(tmp_path):
    """The address of a service of the demo's model."""
    command = os.environ.get("FEAMOE_COMMAND")
    if command is None:
        pytest.skip("FEAMOE_COMMAND is not set: it names the command")
    subprocess.run([command, "demo", "--output", tmp_path], check=True, capture_output=True)
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    options = ["--listen", "127.0.0.1:0", "--token-file", token, "--other-group", "plan", "--max-records", "20"]
    with subprocess.Popen(
        [command, "serve", tmp_path / "lending.feamoe", *options, "--quiet"], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process.stdout.readline().strip()
        process.terminate()
        assert process.wait(30) == 0


def test_every_answer_is_as_described(service):
    asking = [sys.executable, "-m", "schemathesis.cli", "run", f"{service}/openapi.json", "--url", service]
    bounds = ["--phases", "coverage,fuzzing", "--max-examples", "8", "--seed", "1", "--generation-deterministic"]
    output = ["--checks", CHECKS, "--header", f"Authorization: Bearer {TOKEN}", "--no-color"]
    ran = subprocess.run(asking + bounds + output, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-5_000:] + ran.stderr[-1_000:]
    with urllib.request.urlopen(f"{service}/metrics") as answer:
        metrics = answer.read().decode()
    # Not all answers are refusals.
    for path in ("/score", "/explain", "/recourse"):
        assert f'feamoe_request_seconds_count{{endpoint="POST {path}",status="200"}}' in metrics, metrics
