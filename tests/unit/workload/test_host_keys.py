"""The built-in host keys are those whose fingerprints the forges publish."""

import json
import subprocess
from pathlib import Path

import pytest

from gastown_operator.workload.host_keys import HOST_KEYS, known_hosts_lines

PUBLISHED = json.loads((Path(__file__).parent / "forge_fingerprints.json").read_text())


def test_every_host_has_its_published_fingerprints_and_where_they_are_published() -> None:
    assert sorted(HOST_KEYS) == sorted(PUBLISHED)
    assert all(entry["source"].startswith("https://") for entry in PUBLISHED.values())


@pytest.mark.parametrize("host", HOST_KEYS)
def test_ssh_keygen_finds_the_published_fingerprints_in_our_lines(host: str, tmp_path: Path) -> None:
    lines = tmp_path / "known_hosts"
    lines.write_bytes(known_hosts_lines(host))

    listed = subprocess.run(
        ["ssh-keygen", "-l", "-F", host, "-f", str(lines)], check=True, capture_output=True, text=True
    ).stdout

    # Each line: host, kind, fingerprint.
    found = [line.split()[2] for line in listed.splitlines() if not line.startswith("#")]
    assert sorted(found) == sorted(PUBLISHED[host]["fingerprints"])


def test_nothing_is_known_of_other_hosts() -> None:
    assert known_hosts_lines("git.example.invalid") == b""
    assert known_hosts_lines("[github.com]:2222") == b""
