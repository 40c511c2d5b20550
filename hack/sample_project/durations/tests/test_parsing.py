"""What parse_duration promises."""

import unittest

from .. import format_duration, parse_duration


class ParseDurationTest(unittest.TestCase):
    def test_one_unit(self) -> None:
        self.assertEqual(parse_duration("45s"), 45)
        self.assertEqual(parse_duration("2d"), 172_800)

    def test_several_units_add_up(self) -> None:
        self.assertEqual(parse_duration("1h30m"), 5_400)
        self.assertEqual(parse_duration("1d2h3m4s"), 93_784)

    def test_reads_what_format_duration_writes(self) -> None:
        for seconds in (0, 59, 60, 3_661, 90_061):
            with self.subTest(seconds=seconds):
                self.assertEqual(parse_duration(format_duration(seconds)), seconds)

    def test_refuses_what_is_no_duration(self) -> None:
        for text in ("", "5", "h", "1h 30m", "-1s"):
            with self.subTest(text=text), self.assertRaises(ValueError):
                parse_duration(text)


if __name__ == "__main__":
    unittest.main()
