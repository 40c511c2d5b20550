"""What format_duration promises."""

import unittest

from .. import format_duration


class FormatDurationTest(unittest.TestCase):
    def test_leaves_out_what_is_zero(self) -> None:
        self.assertEqual(format_duration(5_400), "1h30m")
        self.assertEqual(format_duration(86_401), "1d1s")

    def test_nothing_is_zero_seconds(self) -> None:
        self.assertEqual(format_duration(0), "0s")

    def test_refuses_the_past(self) -> None:
        with self.assertRaises(ValueError):
            format_duration(-1)


if __name__ == "__main__":
    unittest.main()
