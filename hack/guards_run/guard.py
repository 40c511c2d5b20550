"""What a guard is: the lines that protect from a pitfall, what removes them, and the tests that notice."""

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = Path(__file__).with_name("guards.toml")
PITFALLS: Final = 28


class DataError(Exception):
    """The list of guards does not fit the code; the argument says where."""


@dataclass(frozen=True)
class Guard:
    """One protection.

    Attributes:
        pitfall: number of what it protects from.
        name: unique, for the command line.
        file: where it is, from the root.
        old: its text, which occurs exactly once there.
        new: what takes its place, so that it protects no longer.
        tests: ids of tests, of which each must fail then (of one with parameters, at least one case).
        slow: whether its tests take longer than a few seconds; a sample leaves it out.
    """

    pitfall: int
    name: str
    file: str
    old: str
    new: str
    tests: Sequence[str]
    slow: bool = False

    def removed_from(self, source: str) -> str:
        """Return the source without the guard. Raises DataError unless its text is there exactly once."""
        found = source.count(self.old)
        if found != 1:
            raise DataError(f"guard {self.name}: its text occurs {found} times in {self.file}, not once")
        return source.replace(self.old, self.new)

    def place(self, root: Path = ROOT) -> str:
        """Return the function or class in which it is; empty at the top of the module."""
        source = (root / self.file).read_text()
        lead = len(self.old) - len(self.old.lstrip())
        line = source[: source.index(self.old) + lead].count("\n") + 1
        return ".".join(_enclosing(ast.parse(source), line))


@dataclass(frozen=True)
class Catalogue:
    """All guards, and what the pitfalls are called."""

    pitfalls: Mapping[int, str]
    guards: Sequence[Guard]

    def named(self, names: Sequence[str]) -> list[Guard]:
        """Return the guards with these names, or numbers of pitfalls. Raises DataError for one that is not there."""
        unknown = [name for name in names if not any(_is_called(guard, name) for guard in self.guards)]
        if unknown:
            raise DataError(f"there is no guard {', '.join(unknown)}: see --list")
        return [guard for guard in self.guards if any(_is_called(guard, name) for name in names)]

    def problems(self, root: Path = ROOT) -> Iterator[str]:
        """Yield what does not fit the code or the rules of the list."""
        for number in range(1, PITFALLS + 1):
            if number not in self.pitfalls or not any(guard.pitfall == number for guard in self.guards):
                yield f"pitfall {number} has no guard"
        names = [guard.name for guard in self.guards]
        yield from (f"two guards are called {name}" for name in sorted({*names}) if names.count(name) > 1)
        yield from misfits(self.guards, root)


def misfits(guards: Sequence[Guard], root: Path = ROOT) -> Iterator[str]:
    """Yield which of these guards, and which of their tests, are not in the code as the list says."""
    for guard in guards:
        yield from _problems(guard, root)


def require(problems: Iterator[str]) -> None:
    """Raise DataError with all problems, if there are any."""
    found = list(problems)
    if found:
        raise DataError("\n".join(found))


def load(path: Path = DATA) -> Catalogue:
    """Read the list. Raises DataError."""
    try:
        data: Mapping[str, Any] = tomllib.loads(path.read_text())
        pitfalls = {int(number): str(title) for number, title in data["pitfalls"].items()}
        guards = [Guard(**entry) for entry in data["guard"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path.name}: {error}") from error
    return Catalogue(pitfalls, sorted(guards, key=lambda guard: guard.pitfall))


def _problems(guard: Guard, root: Path) -> Iterator[str]:
    try:
        ast.parse(guard.removed_from((root / guard.file).read_text()))
    except (DataError, OSError) as error:
        yield str(error)
    except SyntaxError as error:
        yield f"guard {guard.name}: what takes its place is no Python: {error}"
    for test in guard.tests:
        file, _, rest = test.partition("::")
        function = rest.partition("::")[0].partition("[")[0]
        if not (root / file).exists() or function not in (root / file).read_text():
            yield f"guard {guard.name}: there is no test {test}"


def _is_called(guard: Guard, name: str) -> bool:
    return name in {guard.name, str(guard.pitfall)}


def _enclosing(tree: ast.AST, line: int) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= line <= (node.end_lineno or 0):
                yield node.name
                yield from _enclosing(node, line)
