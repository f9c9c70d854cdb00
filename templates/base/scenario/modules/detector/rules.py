"""What is found in readings. No network here: this is the part to change, and to test.

Two kinds of rule: a `window` looks at an aggregate of a field over a time, again and again; `consecutive` at so many
readings one after another. Both look at each source by itself, and at the time that is in the readings.
"""

import operator
from collections import deque
from datetime import datetime, timedelta

OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
AGGREGATES = {
    "average": lambda values: sum(values) / len(values),
    "minimum": min,
    "maximum": max,
    "sum": sum,
}


class Detector:
    """Takes readings, gives alerts."""

    def __init__(self, rule):
        if rule["operator"] not in OPERATORS:
            raise ValueError(f"there is no operator {rule['operator']!r}")
        kinds = {"window": Window, "consecutive": Consecutive}
        if rule["kind"] not in kinds:
            raise ValueError(f"there is no rule of the kind {rule['kind']!r}")
        self.rule = rule
        self.kind = kinds[rule["kind"]]
        self.kind(rule)
        self.sources = {}

    def take(self, reading):
        """The alerts that a reading makes."""
        name, measured = reading[self.rule["by"]], reading[self.rule["field"]]
        when = datetime.fromisoformat(reading["ts"].replace("Z", "+00:00"))
        state = self.sources.get(name)
        # Time that goes back begins anew: the data is played again.
        if state is None or when <= state.last:
            state = self.sources[name] = self.kind(self.rule)
        return [
            {"alert": self.rule["name"], self.rule["by"]: name, "at": text_of(at), "value": round(found, 3)}
            for at, found in state.take(when, measured)
        ]


class Consecutive:
    """So many readings one after another: an alert with the last of them, and none until it was over."""

    def __init__(self, rule):
        self.compare, self.limit = OPERATORS[rule["operator"]], rule["value"]
        self.wanted = int(rule["count"])
        self.seen = 0
        self.last = None

    def take(self, when, measured):
        self.last = when
        self.seen = self.seen + 1 if self.compare(measured, self.limit) else 0
        return [(when, measured)] if self.seen == self.wanted else []


class Window:
    """An aggregate over `sizeSeconds`, every `hopSeconds`; a reading at the end of a window belongs to it."""

    def __init__(self, rule):
        self.compare, self.limit = OPERATORS[rule["operator"]], rule["value"]
        self.aggregate = AGGREGATES[rule["aggregate"]]
        self.size, self.hop = timedelta(seconds=rule["sizeSeconds"]), timedelta(seconds=rule["hopSeconds"])
        self.readings = deque()
        self.last = None

    def take(self, when, measured):
        found = []
        end = self.next_end()
        while end is not None and end < when:
            # Windows that ended while nothing was read.
            found += self.close(end)
            self.last = end
            end = self.next_end() if self.readings else None
        self.readings.append((when, measured))
        self.last = when
        if self.is_end(when):
            found += self.close(when)
        return found

    def is_end(self, when):
        return (when - datetime(1970, 1, 1, tzinfo=when.tzinfo)) % self.hop == timedelta()

    def next_end(self):
        """The end of the first window that is still open."""
        if self.last is None:
            return None
        since = (self.last - datetime(1970, 1, 1, tzinfo=self.last.tzinfo)) % self.hop
        return self.last - since + self.hop

    def close(self, end):
        while self.readings and self.readings[0][0] <= end - self.size:
            self.readings.popleft()
        if not self.readings:
            return []
        value = self.aggregate([measured for _, measured in self.readings])
        return [(end, value)] if self.compare(value, self.limit) else []


def text_of(when):
    """A time as it stands in a message, to the millisecond."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03}Z"
