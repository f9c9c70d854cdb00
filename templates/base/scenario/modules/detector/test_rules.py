"""Run with `python3 -m unittest`."""

import unittest

from rules import Detector

WINDOW = {"kind": "window", "name": "hot", "by": "id", "field": "t", "aggregate": "average", "operator": ">", "value": 10}
CONSECUTIVE = {"kind": "consecutive", "name": "low", "by": "id", "field": "t", "operator": "<", "value": 5, "count": 3}


def alerts(rule, *readings):
    detector = Detector(rule)
    found = []
    for second, measured in readings:
        found += detector.take({"id": 1, "t": measured, "ts": f"2026-01-01T00:00:{second:02}.000Z"})
    return [(alert["at"][17:19], alert["value"]) for alert in found]


class RulesTest(unittest.TestCase):
    def test_windows_end_with_the_reading_at_their_end(self):
        rule = {**WINDOW, "sizeSeconds": 10, "hopSeconds": 10}
        self.assertEqual(alerts(rule, (5, 10), (10, 14), (15, 8), (20, 9), (25, 30)), [("10", 12.0)])

    def test_windows_that_ended_unseen_are_closed_by_the_next_reading(self):
        rule = {**WINDOW, "sizeSeconds": 10, "hopSeconds": 10}
        self.assertEqual(alerts(rule, (5, 20), (35, 0)), [("10", 20.0)])

    def test_windows_may_overlap(self):
        rule = {**WINDOW, "aggregate": "sum", "sizeSeconds": 20, "hopSeconds": 10}
        self.assertEqual(alerts(rule, (10, 6), (20, 6), (30, 6), (40, 1)), [("20", 12), ("30", 12)])

    def test_consecutive_readings_make_one_alert(self):
        low = [(second, 4) for second in range(1, 6)]
        self.assertEqual(alerts(CONSECUTIVE, (0, 9), *low), [("03", 4)])
        self.assertEqual(alerts(CONSECUTIVE, (1, 4), (2, 4), (3, 6), (4, 4), (5, 4)), [])

    def test_data_that_is_played_again_makes_the_same_alerts(self):
        low = [(second, 4) for second in range(1, 6)]
        self.assertEqual(alerts(CONSECUTIVE, *low, *low), [("03", 4), ("03", 4)])

    def test_rules_that_make_no_sense_are_refused(self):
        for wrong in ({"operator": "!"}, {"kind": "guess"}):
            with self.assertRaises(ValueError):
                Detector({**CONSECUTIVE, **wrong})


if __name__ == "__main__":
    unittest.main()
