"""What the module does with a message. No network here: this is the part to change, and to test."""

import json
import logging

from azure.iot.device import Message

DEFAULT_THRESHOLD = 25.0

log = logging.getLogger(__name__)


class Filter:
    """Lets through messages whose machine temperature is above a threshold."""

    def __init__(self):
        self.threshold = DEFAULT_THRESHOLD

    def configure(self, desired):
        """Takes the threshold from a twin or a patch; one that does not name it leaves it, null resets it."""
        if "TemperatureThreshold" not in desired:
            return
        value = desired["TemperatureThreshold"]
        if value is None:
            self.threshold = DEFAULT_THRESHOLD
        elif is_number(value):
            self.threshold = float(value)
        else:
            log.warning("TemperatureThreshold must be a number, not %r: it stays at %s", value, self.threshold)

    def alert(self, message):
        """The alert for a message, or None if it is not above the threshold."""
        try:
            body = json.loads(message.data)
        except ValueError as error:
            log.warning("a message that is not JSON was dropped: %s", error)
            return None
        machine = body.get("machine") if isinstance(body, dict) else None
        temperature = machine.get("temperature") if isinstance(machine, dict) else None
        if not is_number(temperature) or temperature <= self.threshold:
            return None
        alert = Message(
            message.data,
            message_id=message.message_id,
            content_encoding=message.content_encoding,
            content_type=message.content_type,
        )
        alert.correlation_id = message.correlation_id
        # Those whose names start with "$." were set by the hub, and only it may set them.
        alert.custom_properties = {
            name: value for name, value in message.custom_properties.items() if not name.startswith("$.")
        }
        alert.custom_properties["MessageType"] = "Alert"
        return alert


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
