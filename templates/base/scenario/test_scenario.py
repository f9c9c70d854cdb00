"""Whether the data of the sensors makes the alerts that are expected: `python3 test_scenario.py`, without a device."""

import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE / "modules" / "sensor"), str(HERE / "modules" / "detector")]

from readings import Readings  # noqa: E402
from rules import Detector  # noqa: E402


class ScenarioTest(unittest.TestCase):
    def test_the_data_makes_the_expected_alerts(self):
        manifest = json.loads((HERE / "deployment.template.json").read_text())["modulesContent"]
        detector = Detector(manifest["detector"]["properties.desired"])
        alerts = []
        for reading in Readings(manifest["sensor"]["properties.desired"]):
            alerts += detector.take(reading)
        self.assertEqual(alerts, json.loads((HERE / "expected-alerts.json").read_text()))


if __name__ == "__main__":
    unittest.main()
