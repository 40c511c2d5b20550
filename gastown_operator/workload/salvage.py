"""The last resort: work that the git server takes under no name is written to the keeper's log, as a git bundle.

To get it back: `kubectl logs POD -c keeper | sed -n '/^BEGIN GIT BUNDLE/,/^END GIT BUNDLE/p' | sed '1d;$d' | base64 -d > work.bundle`,
then, in a clone of the repository, `git fetch work.bundle refs/salvaged/work:work`.
"""

import base64
import hashlib
from pathlib import Path
from typing import Final, TextIO

import attrs

from gastown_operator.workload.git import Git

BEGIN: Final = "BEGIN GIT BUNDLE"
END: Final = "END GIT BUNDLE"
REF: Final = "refs/salvaged/work"
#: The kubelet rotates logs at 10 MiB by default and shows the last file only; base64 needs a third more than the bundle has.
MAXIMUM_BYTES: Final = 4 * 1024 * 1024
_WIDTH: Final = 76


@attrs.frozen
class Salvage:
    """Writes commits to a log.

    Args:
        git: a repository that has them.
        base: a commit that the git server has; its history is left out.
        scratch: a directory for the bundle.
        stream: the log.
    """

    git: Git
    base: str
    scratch: Path
    stream: TextIO

    def write(self, commit: str) -> bool:
        """Write everything from the base to `commit`; False, and nothing written, where that is too much for a log.

        Raises:
            GitError: git cannot make the bundle.
        """
        bundle = self.scratch / "work.bundle"
        self.git.run("update-ref", REF, commit)
        self.git.run("bundle", "create", "--quiet", str(bundle), REF, f"^{self.base}")
        content = bundle.read_bytes()
        if len(content) > MAXIMUM_BYTES:
            return False
        text = base64.b64encode(content).decode("ascii")
        lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
        digest = hashlib.sha256(content).hexdigest()
        print(
            f"{BEGIN} {len(content)} {digest}",
            *lines,
            f"{END} {digest}",
            sep="\n",
            file=self.stream,
            flush=True,
        )
        return True
