"""A ConfigMap that is missing is named, not waited for."""

from pathlib import Path

import pytest

from gastown_operator.workload import user_files
from gastown_operator.workload.errors import AttemptError


def test_files_that_are_there_are_fine_and_so_are_none_that_nobody_wants(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")

    user_files.check("mine", "workers", tmp_path)
    user_files.check("", "workers", tmp_path / "absent")


def test_a_config_map_that_is_missing_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(AttemptError, match="kubectl -n workers create configmap mine") as missing:
        user_files.check("mine", "workers", tmp_path)

    assert missing.value.reason == "ConfigMapMissing"
