"""What simulated sensors measure: the same every time, and said in data alone. No network here."""

from datetime import datetime, timedelta, timezone


class Readings:
    """The readings that a description makes, in the order of time.

    `start` is when, `stepMilliseconds` how long between readings, `count` how many of each source, `key` what the name of
    a source is called. Each of the `sources` has a `name` and `fields`: a number or text that never changes, or an object
    with a `base`, a triangular wave of an `amplitude` with a `periodSeconds`, and `changes`: what to `add` after one
    second and until another.
    """

    def __init__(self, description):
        self.start = datetime.fromisoformat(description["start"].replace("Z", "+00:00")).astimezone(timezone.utc)
        self.step = int(description["stepMilliseconds"])
        self.count = int(description["count"])
        self.key = description["key"]
        self.sources = description["sources"]

    def __iter__(self):
        for number in range(1, self.count + 1):
            yield from self.at(number)

    def at(self, number):
        """The readings of all sources at a step, from 1."""
        milliseconds = number * self.step
        when = self.start + timedelta(milliseconds=milliseconds)
        for source in self.sources:
            reading = {self.key: source["name"]}
            for field, measure in source["fields"].items():
                reading[field] = value(measure, milliseconds) if isinstance(measure, dict) else measure
            reading["ts"] = text_of(when)
            yield reading


def value(measure, milliseconds):
    """What is measured so long after the start."""
    measured = measure["base"]
    period = measure.get("periodSeconds", 0) * 1000
    if period:
        phase = (milliseconds % period) / period
        measured += measure.get("amplitude", 0) * (1 - 4 * abs(phase - 0.5))
    for change in measure.get("changes", []):
        if change["after"] * 1000 < milliseconds <= change["until"] * 1000:
            measured += change["add"]
    return round(measured, 3)


def text_of(when):
    """A time as it stands in a message, to the millisecond."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03}Z"
