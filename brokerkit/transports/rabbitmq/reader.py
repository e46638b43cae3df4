"""The reader of a connection's socket: takes messages and confirms out of the stream, leaves the rest to aiormq.

aiormq makes three objects, a queue's hop and a task of each delivery; this makes one call. Everything it does not take
is passed on, byte for byte and in whole frames.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from struct import Struct

from brokerkit.transports.rabbitmq.content import MAX_BODY, Content, Malformed, returned, whole
from brokerkit.transports.rabbitmq.frames import BODY, CLASS, END, HEADER, HEARTBEAT, METHOD, OVERHEAD
from brokerkit.transports.rabbitmq.sink import Sink

__all__ = ["DeliveryReader", "Malformed", "Sink"]

_KINDS = {METHOD, HEADER, BODY, HEARTBEAT}
_FIRST_FRAME_MAX = 128 * 1024
"""Bytes; until the broker has said how large its frames are."""
_BEAT_EVERY = 1.0
_BEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_DELIVER, _RETURN, _ACK, _NACK, _CANCEL = (bytes((0, CLASS, 0, method)) for method in (60, 50, 80, 120, 30))
_CONFIRMS = {_ACK, _NACK}
_LEAST_CONFIRM, _LEAST_CANCEL = OVERHEAD + 13, OVERHEAD + 5
_CHANNEL = b"\x00\x14"
_CONTROL = {b"\x00\x0a", _CHANNEL}
_TUNE = b"\x00\x0a\x00\x1e"

_frame = Struct(">BHI").unpack_from
_tag_and_bits = Struct(">QB").unpack_from


class DeliveryReader(asyncio.StreamReader):
    """A ``StreamReader`` that keeps what belongs to the sinks.

    Made on the event loop that it will be used on.

    Attributes:
        sinks: By channel number. Messages, returns, confirms and the broker's cancels of these channels are taken.
        last_heard: Loop time at which anything last came, at first that of its making.
        frame_max: The largest frame in bytes, as the broker said when it was tuned.
        worked: Something came for a sink.

    Args:
        on_error: Called once when the stream is not AMQP; nothing is read from then on, so cut the connection.
        on_control: Called with channel number and payload (from the class id on) of every method of the classes
            connection and channel, which is passed on, too. Neither callback may raise.
    """

    def __init__(self, *, on_error: Callable[[Exception], None], on_control: Callable[[int, bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(loop=loop)
        self.sinks: dict[int, Sink] = {}
        self.frame_max = _FIRST_FRAME_MAX
        self._on_error, self._on_control = on_error, on_control
        self._now = loop.time
        self.last_heard = self._beat_after = loop.time()
        self._scan: Callable[[bytes], int] | None = self._first
        self._held: list[bytes] = []
        self._held_size = self._needed = 0
        self._contents: dict[int, Content] = {}
        self._passed: list[bytes] = []
        self._touched: dict[int, Sink] = {}
        self.worked = False

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # asyncio feeds nothing else
        """What the socket has brought."""
        self.last_heard = now = self._now()
        if self._held:
            self._held.append(data)
            self._held_size += len(data)
            data = b"".join(self._held) if self._held_size >= self._needed else b""
        if data and self._scan is not None:
            self._take(bytes(data), self._scan)
        if self._passed:
            super().feed_data(b"".join(self._passed))
            self._passed.clear()
        elif now < self._beat_after or not self.sinks:
            return
        else:
            # aiormq believes a connection dead that brings it nothing; before there are sinks it expects an answer.
            super().feed_data(_BEAT)
        self._beat_after = now + _BEAT_EVERY

    def feed_eof(self) -> None:
        """The socket has ended."""
        if self._held:
            super().feed_data(b"".join(self._held))
            self._held.clear()
        super().feed_eof()

    def _take(self, data: bytes, scan: Callable[[bytes], int]) -> None:
        try:
            done = scan(data)
        except Malformed as error:
            self._scan = None
            self._held.clear()
            self._contents.clear()
            self._on_error(error)
            return
        finally:
            if self._touched:
                self.worked = True
                touched, self._touched = self._touched, {}
                for sink in touched.values():
                    sink.fed()
        self._hold(data[done:] if done else data)

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of a frame until there is more of it."""
        self._held = [rest] if rest else []
        self._held_size = len(rest)
        self._needed = OVERHEAD if len(rest) < OVERHEAD else OVERHEAD + _frame(rest)[2]

    def _first(self, data: bytes) -> int:
        """The beginning of the stream. A server that refuses our version of AMQP names its own, which is no frame."""
        if data.startswith(b"AMQP"):
            self._scan = self._pass_on
            return self._pass_on(data)
        done = self._frames(data)
        if done:
            self._scan = self._frames
        return done

    def _pass_on(self, data: bytes) -> int:
        self._passed.append(data)
        return len(data)

    def _frames(self, data: bytes) -> int:
        """Take what is ours of all whole frames, pass on the others; returns where the incomplete one begins."""
        sinks, contents, total = self.sinks, self._contents, len(data)
        at = passing = 0
        while total - at >= OVERHEAD:
            kind, channel, size = _frame(data, at)
            end = at + size + OVERHEAD
            if end > total:
                self._check(kind, size)
                break
            if data[end - 1] != END:
                raise Malformed("a frame does not end where it says")
            if contents and channel in contents:
                after = self._continue(data, at, end, kind, channel)
            elif kind == METHOD:
                sink = sinks.get(channel)
                if sink is not None and data[at + 7 : at + 11] == _DELIVER:
                    after = self._deliver(sink, data, at, end, channel)
                else:
                    after = self._method(sink, data, at, end, channel)
            else:
                after = 0
            if after:
                if passing != at:
                    self._passed.append(data[passing:at])
                at = passing = after
            else:
                at = end
        if passing != at:
            self._passed.append(data[passing:at])
        return at

    def _check(self, kind: int, size: int) -> None:
        """Refuse to wait for what will never be a frame."""
        if kind not in _KINDS:
            raise Malformed(f"a frame of the unknown type {kind}")
        if size + OVERHEAD > self.frame_max:
            raise Malformed(f"a frame of {size + OVERHEAD} bytes, where {self.frame_max} are the most")

    # The three frames of a message, which mostly come together

    def _deliver(self, sink: Sink, data: bytes, at: int, end: int, channel: int) -> int:
        try:
            tag_at = at + 12 + data[at + 11]
            tag, bits = _tag_and_bits(data, tag_at)
            key_at = tag_at + 11 + data[tag_at + 9]
            exact = key_at + data[key_at - 1] == end - 1
        except (IndexError, struct.error) as error:
            raise Malformed("a delivery's arguments are too short") from error
        if not exact:
            raise Malformed("a delivery's arguments are not as long as its frame")
        redelivered = bits & 1 == 1
        exchange, routing_key = data[tag_at + 10 : key_at - 1], data[key_at : end - 1]
        header_end, body_at, after = whole(data, end, channel)
        self._touched[channel] = sink
        if after:
            header, body = data[end + 7 : header_end - 1], data[body_at : after - 1]
            sink.delivered(tag, redelivered, exchange, routing_key, header, body)
            return after
        self._contents[channel] = Content(
            lambda sink, header, body: sink.delivered(tag, redelivered, exchange, routing_key, header, body)
        )
        return end

    def _continue(self, data: bytes, at: int, end: int, kind: int, channel: int) -> int:
        """The next frame of a channel that has begun a message."""
        content = self._contents[channel]
        if kind == METHOD and data[at + 7 : at + 9] == _CHANNEL:
            del self._contents[channel]  # the channel has ended, the message with it
            return self._method(None, data, at, end, channel)
        if kind == HEADER and not content.begun:
            content.begin(data[at + 7 : end - 1])
        elif kind == BODY and content.begun:
            content.add(data[at + 7 : end - 1])
        else:
            raise Malformed(f"a frame of type {kind} in the middle of a message")
        if content.complete:
            del self._contents[channel]
            sink = self.sinks.get(channel)
            if sink is not None:
                self._touched[channel] = sink
                content.finish(sink)
        return end

    # Other methods

    def _method(self, sink: Sink | None, data: bytes, at: int, end: int, channel: int) -> int:
        """Returns its end if it is taken, 0 if it is to be passed on."""
        method = data[at + 7 : at + 11]
        if method[:2] in _CONTROL:
            if method == _TUNE:
                self.frame_max = int.from_bytes(data[at + 13 : at + 17], "big") or MAX_BODY
            self._on_control(channel, data[at + 7 : end - 1])
            return 0
        if sink is None:
            return 0
        if method in _CONFIRMS:
            if end - at < _LEAST_CONFIRM:
                raise Malformed("a confirmation's arguments are too short")
            tag, bits = _tag_and_bits(data, at + 11)
            sink.confirmed(tag, bits & 1 == 1, method == _ACK)
        elif method == _RETURN:
            self._contents[channel] = returned(data[at + 11 : end - 1])
        elif method == _CANCEL and end - at >= _LEAST_CANCEL:
            sink.cancelled(data[at + 12 : at + 12 + data[at + 11]].decode(errors="replace"))
        else:
            return 0
        self._touched[channel] = sink
        return end
