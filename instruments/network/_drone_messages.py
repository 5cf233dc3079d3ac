"""The messages of Ostinato's drone, version 1, as far as they are used: protobuf, framed by type, method and length.

Source: the published protocol of Ostinato 1.2 (field numbers), checked against drone 1.2.0.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from aicalib_hw.errors import MissingExtra

REQUEST, RESPONSE, BLOB, ERROR, NOTIFICATION = 1, 2, 3, 4, 5
METHODS = {
    "getPortIdList": (0, "Void", "PortIdList"),
    "getPortConfig": (1, "PortIdList", "PortConfigList"),
    "modifyPort": (2, "PortConfigList", "Ack"),
    "getStreamIdList": (3, "PortId", "StreamIdList"),
    "getStreamConfig": (4, "StreamIdList", "StreamConfigList"),
    "addStream": (5, "StreamIdList", "Ack"),
    "deleteStream": (6, "StreamIdList", "Ack"),
    "modifyStream": (7, "StreamConfigList", "Ack"),
    "startTransmit": (8, "PortIdList", "Ack"),
    "stopTransmit": (9, "PortIdList", "Ack"),
    "getStats": (13, "PortIdList", "PortStatsList"),
    "clearStats": (14, "PortIdList", "Ack"),
    "checkVersion": (15, "VersionInfo", "VersionCompatibility"),
    "build": (27, "BuildConfig", "Ack"),
}
"""Method → its number, what it takes and what it gives."""

MAC, ETHERNET_II, PAYLOAD = 100, 200, 101
"""Numbers of protocols; each also numbers the field that holds its message."""

_TYPES = {"bool": 8, "string": 9, "uint32": 13, "uint64": 4, "double": 1, "int32": 5}
_FIELDS: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Void": {},
    "Ack": {"status": (1, "int32", False), "notes": (2, "string", False)},
    "VersionInfo": {"version": (1, "string", False), "client_name": (2, "string", False)},
    "VersionCompatibility": {"result": (1, "int32", False), "notes": (2, "string", False)},
    "PortId": {"id": (1, "uint32", False)},
    "PortIdList": {"port_id": (1, "PortId", True)},
    "StreamId": {"id": (1, "uint32", False)},
    "StreamIdList": {"port_id": (1, "PortId", False), "stream_id": (2, "StreamId", True)},
    "Port": {
        "port_id": (1, "PortId", False),
        "name": (2, "string", False),
        "is_exclusive_control": (6, "bool", False),
        "user_name": (8, "string", False),
        "speed": (10, "double", False),
        "mtu": (11, "uint32", False),
    },
    "PortConfigList": {"port": (1, "Port", True)},
    "StreamCore": {
        "name": (1, "string", False),
        "is_enabled": (2, "bool", False),
        "len_mode": (14, "int32", False),
        "frame_len": (15, "uint32", False),
    },
    "StreamControl": {
        "unit": (1, "int32", False),
        "mode": (2, "int32", False),
        "num_packets": (3, "uint32", False),
        "next": (6, "int32", False),
        "packets_per_sec": (9, "double", False),
    },
    "ProtocolId": {"id": (1, "uint32", False)},
    "Mac": {
        "dst_mac": (1, "uint64", False),
        "dst_mac_mode": (2, "int32", False),
        "src_mac": (5, "uint64", False),
        "src_mac_mode": (6, "int32", False),
    },
    "Protocol": {
        "protocol_id": (1, "ProtocolId", False),
        "mac": (MAC, "Mac", False),
        "payload": (PAYLOAD, "Void", False),
        "eth2": (ETHERNET_II, "Void", False),
    },
    "Stream": {
        "stream_id": (1, "StreamId", False),
        "core": (2, "StreamCore", False),
        "control": (3, "StreamControl", False),
        "protocol": (4, "Protocol", True),
    },
    "StreamConfigList": {"port_id": (1, "PortId", False), "stream": (2, "Stream", True)},
    "PortState": {"link_state": (1, "int32", False), "is_transmit_on": (2, "bool", False)},
    "PortStats": {
        "port_id": (1, "PortId", False),
        "state": (2, "PortState", False),
        "rx_pkts": (11, "uint64", False),
        "rx_bytes": (12, "uint64", False),
        "tx_pkts": (21, "uint64", False),
        "tx_bytes": (22, "uint64", False),
        "rx_drops": (100, "uint64", False),
        "rx_errors": (101, "uint64", False),
    },
    "PortStatsList": {"port_stats": (1, "PortStats", True)},
    "BuildConfig": {"port_id": (1, "PortId", False)},
}
"""Message → field → (number, type, repeated)."""


@cache
def _pool() -> Any:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra.for_library("protobuf", "network", "Ostinato's drone") from error
    file = descriptor_pb2.FileDescriptorProto(name="drone.proto", package="drone", syntax="proto2")
    for message, fields in _FIELDS.items():
        made = file.message_type.add(name=message)
        for field, (number, kind, repeated) in fields.items():
            added = made.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in _TYPES:
                added.type = _TYPES[kind]
            else:
                added.type, added.type_name = 11, f".drone.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def message_class(name: str) -> Any:
    """Return the class of a message; raises MissingExtra without the library protobuf."""
    pool = _pool()
    from google.protobuf import message_factory

    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"drone.{name}"))


def text_of(message: Any) -> str:
    """Return a message as one line of text, for the trace."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(message, as_one_line=True))
