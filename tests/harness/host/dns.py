"""A name server on loopback that knows the names it is told, and remembers what it was asked.

with Dns({"aws.ingot.test": "127.0.0.1"}, netns="N") as dns:
    …
    assert "aws.ingot.test" in dns.asked
"""

import socket
import struct
import threading

from harness import wire

A, IN = 1, 1
NAME_ERROR = 3


class Dns:
    def __init__(self, names: dict[str, str], *, address: str = "127.0.0.1", netns: str | None = None):
        self.names = names
        self.asked: list[str] = []
        self.socket = wire.bound(address, 53, netns, socket.SOCK_DGRAM)
        self.socket.settimeout(0.1)
        self.ended = threading.Event()

    def __enter__(self) -> "Dns":
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.thread.join()
        self.socket.close()

    def serve(self) -> None:
        while not self.ended.is_set():
            try:
                packet, peer = self.socket.recvfrom(4096)
            except TimeoutError:
                continue
            self.socket.sendto(self.answer(packet), peer)

    def answer(self, packet: bytes) -> bytes:
        """The question again, and its address if it is for one that is known. RFC 1035, section 4."""
        labels, at = [], 12
        while length := packet[at]:
            labels.append(packet[at + 1 : at + 1 + length].decode())
            at += 1 + length
        question = packet[12 : at + 5]
        (type_,) = struct.unpack_from("!H", packet, at + 1)
        name = ".".join(labels).lower()
        self.asked.append(name)
        records = b""
        if name in self.names and type_ == A:
            records = struct.pack("!HHHIH", 0xC00C, A, IN, 60, 4) + socket.inet_aton(self.names[name])
        code = 0 if name in self.names else NAME_ERROR
        header = packet[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, 1 if records else 0, 0, 0)
        return header + question + records
