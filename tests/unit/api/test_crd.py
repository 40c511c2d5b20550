"""The generator: what is checked in is what the classes say."""

from pathlib import Path

import pytest

from gastown_operator.api.crd import drift, generated, main, write

REPOSITORY = Path(__file__).parents[3]


def test_what_is_checked_in_is_up_to_date() -> None:
    assert drift(REPOSITORY) == []
    assert main(["--check"]) == 0


def test_drift_is_named_file_by_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    (tmp_path / "manifests/crd/rigs.yaml").write_text("edited: by hand\n")
    (tmp_path / "manifests/crd/convoys.yaml").unlink()
    (tmp_path / "manifests/crd/mayors.yaml").write_text("")
    assert main(["--check", "--root", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "manifests/crd/rigs.yaml",
        "manifests/crd/convoys.yaml",
        "manifests/crd/mayors.yaml",
    ]
    assert "run `python -m gastown_operator.api.crd`" in lines[0]


def test_writing_repairs_drift(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert drift(tmp_path) == []
    assert {path for path in generated() if (tmp_path / path).exists()} == generated().keys()


def test_the_reference_has_a_section_for_every_kind() -> None:
    reference = generated()["docs/reference/api.md"]
    assert [line[3:] for line in reference.splitlines() if line.startswith("## ")] == [
        "Rig",
        "Polecat",
        "Convoy",
        "Witness",
        "Refinery",
        "BeadStore",
    ]
    assert "| `spec.kubernetes.podLabels` | map (at most 32) of string (at most 63 characters)" in reference
