"""profile.proto without anybody's library: what scrapers look at, byte by byte."""

import gzip


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """(number, value) of one message: an int for a varint, bytes for what has a length."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f"wire type {key & 7} at {at}")
        yield key >> 3, value


def message(data):
    """number -> values, in order."""
    result = {}
    for number, value in fields(data):
        result.setdefault(number, []).append(value)
    return result


def packed(values):
    """Repeated integers, packed or not."""
    result = []
    for value in values:
        if isinstance(value, int):
            result.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = varint(value, at)
            result.append(number)
    return result


class Profile:
    def __init__(self, body):
        top = message(gzip.decompress(body))
        self.strings = [text.decode() for text in top[6]]
        self.sample_types = [self._type(part) for part in top.get(1, [])]
        self.period_type = self._type(top[11][0])
        self.period = top.get(12, [0])[0]
        self.time_nanos = top.get(9, [0])[0]
        self.duration_nanos = top.get(10, [0])[0]
        self.mappings = [message(part) for part in top.get(3, [])]
        self.locations = [message(part) for part in top.get(4, [])]
        self.functions = [message(part) for part in top.get(5, [])]
        self.samples = [self._sample(part) for part in top.get(2, [])]

    def _type(self, part):
        one = message(part)
        return f"{self.strings[one.get(1, [0])[0]]}/{self.strings[one.get(2, [0])[0]]}"

    def _sample(self, part):
        one = message(part)
        labels = {}
        for label in map(message, one.get(3, [])):
            key = self.strings[label[1][0]]
            text = label.get(2, [0])[0]
            labels.setdefault(key, []).append(self.strings[text] if text else label.get(3, [0])[0])
        return {"stack": packed(one.get(1, [])), "values": packed(one.get(2, [])), "labels": labels}

    def mapping_file(self, location):
        return self.strings[self.mappings[location[2][0] - 1].get(5, [0])[0]]

    def addresses_by_name(self):
        """(function, file, line) -> address, of locations without inlined functions."""
        result = {}
        for location in self.locations:
            lines = [message(line) for line in location.get(4, [])]
            if len(lines) == 1:
                function = self.functions[lines[0][1][0] - 1]
                key = (self.strings[function.get(2, [0])[0]], self.strings[function.get(4, [0])[0]],
                       lines[0].get(2, [0])[0])
                result.setdefault(key, set()).add(location[3][0])
        return result
