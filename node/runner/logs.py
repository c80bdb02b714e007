"""What one execution prints: its beginning and its end, when the middle is too much."""

FIRST, LAST = 192 << 10, 64 << 10  # bytes kept
TAIL = 4 << 10


class Log:
    """Grows as the function prints. `text` may be asked for at any time."""

    def __init__(self) -> None:
        self.first = bytearray()
        self.last = bytearray()
        self.dropped = 0

    def add(self, data: bytes) -> None:
        room = FIRST - len(self.first)
        if room > 0:
            self.first += data[:room]
            data = data[room:]
        if data:
            self.last += data
            if len(self.last) > 2 * LAST:  # not at every call: moving bytes costs
                self._cut()

    def _cut(self) -> None:
        extra = len(self.last) - LAST
        if extra > 0:
            del self.last[:extra]
            self.dropped += extra

    def text(self) -> str:
        self._cut()
        middle = f"\n... {self.dropped} bytes left out ...\n".encode() if self.dropped else b""
        return (self.first + middle + self.last).decode(errors="replace")

    def tail(self) -> str:
        """The last 4 KiB."""
        if len(self.last) < TAIL:
            return self.text()[-TAIL:]
        return bytes(self.last[-TAIL:]).decode(errors="replace")
