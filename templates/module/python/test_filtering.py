"""Run with `python -m unittest`."""

import json
import unittest

from azure.iot.device import Message

from filtering import DEFAULT_THRESHOLD, Filter


def reading(temperature):
    message = Message(json.dumps({"machine": {"temperature": temperature}}), content_type="application/json")
    message.custom_properties = {"sequenceNumber": "7", "$.cdid": "device"}
    return message


class FilterTest(unittest.TestCase):
    def test_hot_messages_become_alerts_and_keep_their_properties(self):
        alert = Filter().alert(reading(25.1))
        self.assertEqual(alert.custom_properties, {"sequenceNumber": "7", "MessageType": "Alert"})
        self.assertEqual(alert.data, reading(25.1).data)
        self.assertEqual(alert.content_type, "application/json")

    def test_messages_at_or_below_the_threshold_are_dropped(self):
        self.assertIsNone(Filter().alert(reading(25.0)))
        self.assertIsNone(Filter().alert(reading(-3)))

    def test_messages_without_a_temperature_are_dropped(self):
        self.assertIsNone(Filter().alert(reading("hot")))
        self.assertIsNone(Filter().alert(Message("[1]")))
        self.assertIsNone(Filter().alert(Message("not JSON")))

    def test_the_threshold_comes_from_the_desired_properties(self):
        module = Filter()
        module.configure({"TemperatureThreshold": 30})
        self.assertIsNone(module.alert(reading(29)))
        module.configure({"TemperatureThreshold": "warm", "$version": 2})
        self.assertEqual(module.threshold, 30)
        module.configure({"TemperatureThreshold": None})
        self.assertEqual(module.threshold, DEFAULT_THRESHOLD)


if __name__ == "__main__":
    unittest.main()
