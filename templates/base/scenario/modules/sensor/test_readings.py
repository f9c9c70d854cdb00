"""Run with `python3 -m unittest`."""

import unittest

from readings import Readings

DESCRIPTION = {
    "start": "2026-01-01T00:00:00Z",
    "stepMilliseconds": 500,
    "count": 8,
    "key": "id",
    "sources": [
        {
            "name": 1,
            "fields": {
                "wave": {"base": 10, "amplitude": 2, "periodSeconds": 4},
                "step": {"base": 1, "changes": [{"after": 1, "until": 2, "add": 5}]},
                "place": "here",
            },
        }
    ],
}


class ReadingsTest(unittest.TestCase):
    def test_readings_are_made_of_waves_and_changes(self):
        readings = list(Readings(DESCRIPTION))
        self.assertEqual([reading["wave"] for reading in readings], [9, 10, 11, 12, 11, 10, 9, 8])
        self.assertEqual([reading["step"] for reading in readings], [1, 1, 6, 6, 1, 1, 1, 1])
        self.assertEqual({reading["place"] for reading in readings}, {"here"})
        self.assertEqual(readings[0]["ts"], "2026-01-01T00:00:00.500Z")
        self.assertEqual(readings[-1]["ts"], "2026-01-01T00:00:04.000Z")


if __name__ == "__main__":
    unittest.main()
