"""The server's OpenAPI description, and schemathesis, which asks all that it allows."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_the_description_does_not_allow(server, tmp_path):
    pytest.importorskip("schemathesis")
    command = f"{sys.executable.rpartition('/')[0]}/schemathesis"
    done = subprocess.run(
        [
            *(command, "run", f"{server.address}/openapi.json"),
            *("--max-examples=40", "--seed=1", "--no-color"),
            "--checks=not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance",
            "--exclude-checks=negative_data_rejection,positive_data_acceptance",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert server.process.poll() is None
    assert not server.events("failed")
