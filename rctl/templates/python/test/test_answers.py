"""`python3 -m unittest discover test`: what the answers say."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from answers import environment, greeting, seconds  # noqa: E402


class Answers(unittest.TestCase):
    def test_the_greeting_names_the_language_and_whom_it_is_told(self) -> None:
        self.assertEqual(greeting(""), "Hello, world, from Python!\n")
        self.assertEqual(greeting("a=b&name=Ada"), "Hello, Ada, from Python!\n")

    def test_the_environment_is_told_in_order(self) -> None:
        self.assertEqual(environment([("B", "2"), ("A", "1")]), "A=1\nB=2\n")

    def test_the_time_is_in_seconds(self) -> None:
        self.assertEqual(seconds(1.9), "1\n")


if __name__ == "__main__":
    unittest.main()
