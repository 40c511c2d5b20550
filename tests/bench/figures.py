"""What a benchmark says: figures with their bars, kept as JSON and shown as a table."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class Figure:
    """One measured number.

    Attributes:
        measure: the benchmark that it is of, such as `event-rate`.
        name: what was measured, in the words of the table.
        value: the number.
        unit: such as `s`, `MiB`, `% of a core`, `x` for a ratio.
        bar: the highest value that is good enough; None for a figure that has no bar and is there to compare with.
        baseline: what a ratio is to, or what else was measured in the same run; "" where there is none.
        details: everything else that a reader may ask for: single runs, counts, versions. JSON values only.
    """

    measure: str
    name: str
    value: float
    unit: str
    bar: float | None = None
    baseline: str = ""
    details: Mapping[str, Any] = field(factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        return None if self.bar is None else self.value <= self.bar
