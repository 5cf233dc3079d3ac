"""The Open Traffic Generator model, as far as a throughput test needs it (model 1.62, network.md section 3.4).

What the model has and this part has not is either taken and given back as it is (packet headers, payload) or refused.
64-bit integers are text in JSON, taken as numbers too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, model_validator

U64 = Annotated[int, Field(ge=1, lt=1 << 64), PlainSerializer(str, when_used="json")]
U32 = Annotated[int, Field(ge=0, lt=1 << 32)]
Speed = Literal[
    "speed_10_fd_mbps",
    "speed_10_hd_mbps",
    "speed_100_fd_mbps",
    "speed_100_hd_mbps",
    "speed_1_gbps",
    "speed_10_gbps",
    "speed_25_gbps",
    "speed_40_gbps",
    "speed_50_gbps",
    "speed_100_gbps",
    "speed_200_gbps",
    "speed_400_gbps",
    "speed_800_gbps",
]
MIXES = {"imix": ((64, 7.0), (570, 4.0), (1518, 1.0))}
"""Predefined mixes whose weights are known: bytes and weight."""


class Model(BaseModel):
    """An object of the model; unknown fields are refused, as protobuf's JSON does."""

    model_config = ConfigDict(extra="forbid")


class Choice(Model):
    """An object of which `choice` says which one of its fields is meant."""

    def _settle(self, **defaults: Any) -> Self:
        """Let only the chosen field stand, with its default where it is left out."""
        chosen = self.choice  # type: ignore[attr-defined]
        given = [name for name in defaults if getattr(self, name) is not None]
        if given and given != [chosen]:
            raise ValueError(f"choice is {chosen}, and {', '.join(given)} is given")
        if not given:
            setattr(self, chosen, defaults[chosen])
        return self


class Port(Model):
    name: str
    location: str | None = None


class AutoNegotiation(Model):
    advertise_1000_mbps: bool = True
    advertise_100_fd_mbps: bool = True
    advertise_100_hd_mbps: bool = True
    advertise_10_fd_mbps: bool = True
    advertise_10_hd_mbps: bool = True
    link_training: bool = False
    rs_fec: bool = False


class Layer1(Model):
    name: str
    port_names: list[str]
    speed: Speed | None = None
    media: Literal["copper", "fiber", "sgmii"] | None = None
    promiscuous: bool = True
    mtu: int = Field(default=1500, ge=64, le=14000)
    ieee_media_defaults: bool | None = None
    auto_negotiate: bool | None = None
    auto_negotiation: AutoNegotiation | None = None
    flow_control: dict[str, Any] | None = None


class FlowPort(Model):
    tx_name: str
    rx_name: str | None = None
    rx_names: list[str] | None = None


class TxRx(Model):
    choice: Literal["port", "device"] = "port"
    port: FlowPort | None = None
    device: dict[str, Any] | None = None


class Increment(Model):
    start: U32 = Field(default=64, ge=1)
    end: U32 = Field(default=1518, ge=64)
    step: U32 = Field(default=1, ge=1)


class Random(Model):
    min: U32 = 64
    max: U32 = 1518


class Weight(Model):
    size: int = Field(default=64, ge=12, le=65535)
    weight: float = Field(default=1.0, gt=0)


class WeightPairs(Choice):
    choice: Literal["predefined", "custom"] = "predefined"
    predefined: Literal["imix", "ipsec_imix", "ipv6_imix", "standard_imix", "tcp_imix"] | None = None
    custom: list[Weight] | None = None

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        return self._settle(predefined="imix", custom=[Weight()])


class Size(Choice):
    choice: Literal["fixed", "increment", "random", "weight_pairs"] = "fixed"
    fixed: U32 | None = None
    increment: Increment | None = None
    random: Random | None = None
    weight_pairs: WeightPairs | None = None

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        return self._settle(fixed=64, increment=Increment(), random=Random(), weight_pairs=WeightPairs())


class Rate(Choice):
    """pps: frames/s; bps to gbps: on layer 1 (least 672 = 8·(64 + 20)); percentage: of the port's speed."""

    choice: Literal["pps", "bps", "kbps", "mbps", "gbps", "percentage"] = "pps"
    pps: U64 | None = None
    bps: Annotated[U64, Field(ge=672)] | None = None
    kbps: U64 | None = None
    mbps: U64 | None = None
    gbps: Annotated[U32, Field(ge=1)] | None = None
    percentage: float | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        return self._settle(pps=1000, bps=10**9, kbps=10**6, mbps=1000, gbps=1, percentage=100.0)


class Delay(Model):
    choice: Literal["bytes", "nanoseconds", "microseconds"] = "bytes"
    bytes: float | None = Field(default=None, ge=0)
    nanoseconds: float | None = Field(default=None, ge=0)
    microseconds: float | None = Field(default=None, ge=0)


class Continuous(Model):
    gap: U32 = 12
    delay: Delay | None = None


class FixedPackets(Continuous):
    packets: U32 = Field(default=1, ge=1)


class FixedSeconds(Continuous):
    seconds: float = Field(default=1.0, ge=0)


class Burst(Model):
    bursts: U32 = 0
    packets: U32 = Field(default=1, ge=1)
    gap: U32 = 12
    inter_burst_gap: dict[str, Any] | None = None


class Duration(Choice):
    choice: Literal["continuous", "fixed_packets", "fixed_seconds", "burst"] = "continuous"
    continuous: Continuous | None = None
    fixed_packets: FixedPackets | None = None
    fixed_seconds: FixedSeconds | None = None
    burst: Burst | None = None

    @model_validator(mode="after")
    def _chosen(self) -> Self:
        return self._settle(
            continuous=Continuous(), fixed_packets=FixedPackets(), fixed_seconds=FixedSeconds(), burst=Burst()
        )


class Latency(Model):
    enable: bool = False
    mode: Literal["store_forward", "cut_through"] = "store_forward"


class Metrics(Model):
    enable: bool = False
    loss: bool = False
    timestamps: bool = False
    latency: Latency | None = None
    rx_tx_ratio: dict[str, Any] | None = None
    predefined_metric_tags: dict[str, Any] | None = None


class Flow(Model):
    name: str
    tx_rx: TxRx
    packet: list[dict[str, Any]] | None = None
    egress_packet: list[dict[str, Any]] | None = None
    size: Size = Field(default_factory=Size)
    rate: Rate = Field(default_factory=Rate)
    duration: Duration = Field(default_factory=Duration)
    metrics: Metrics = Field(default_factory=Metrics)
    payload: dict[str, Any] | None = None


class PortOptions(Model):
    location_preemption: bool = False
    data_integrity: bool = False
    frame_ordering_mode: dict[str, Any] | None = None


class Options(Model):
    port_options: PortOptions = Field(default_factory=PortOptions)
    protocol_options: dict[str, Any] | None = None
    per_port_options: list[dict[str, Any]] | None = None
    flow_options: dict[str, Any] | None = None


class Config(Model):
    ports: list[Port] = []
    layer1: list[Layer1] = []
    flows: list[Flow] = []
    options: Options | None = None
    lags: list[Any] | None = None
    captures: list[Any] | None = None
    devices: list[Any] | None = None
    events: dict[str, Any] | None = None
    lldp: list[Any] | None = None
    stateful_flows: dict[str, Any] | None = None
    egress_only_tracking: list[Any] | None = None

    def unsimulated(self) -> list[str]:
        """Return which of the parts given are not simulated."""
        parts = ("lags", "captures", "devices", "events", "lldp", "stateful_flows", "egress_only_tracking")
        return [part for part in parts if getattr(self, part)]


class FlowsUpdate(Model):
    property_names: list[Literal["rate", "size"]]
    flows: list[Flow]


class ConfigUpdate(Model):
    choice: Literal["flows", "protocols"] = "flows"
    flows: FlowsUpdate | None = None
    protocols: dict[str, Any] | None = None


class FlowTransmit(Model):
    state: Literal["start", "stop", "pause", "resume"]
    flow_names: list[str] = []


class Traffic(Model):
    choice: Literal["flow_transmit"]
    flow_transmit: FlowTransmit


class Link(Model):
    state: Literal["up", "down"]
    port_names: list[str] = []


class PortState(Model):
    choice: Literal["link", "capture"]
    link: Link | None = None
    capture: dict[str, Any] | None = None


class ControlState(Model):
    choice: Literal["traffic", "port", "protocol"]
    traffic: Traffic | None = None
    port: PortState | None = None
    protocol: dict[str, Any] | None = None


PortColumn = Literal[
    "transmit",
    "location",
    "link",
    "capture",
    "frames_tx",
    "frames_rx",
    "bytes_tx",
    "bytes_rx",
    "frames_tx_rate",
    "frames_rx_rate",
    "bytes_tx_rate",
    "bytes_rx_rate",
    "last_change",
    "speed",
]
FlowColumn = Literal[
    "transmit",
    "frames_tx",
    "frames_rx",
    "bytes_tx",
    "bytes_rx",
    "frames_tx_rate",
    "frames_rx_rate",
    "tx_l1_rate_bps",
    "rx_l1_rate_bps",
    "tx_rate_bytes",
    "rx_rate_bytes",
    "tx_rate_bps",
    "rx_rate_bps",
    "tx_rate_kbps",
    "rx_rate_kbps",
    "tx_rate_mbps",
    "rx_rate_mbps",
]


class PortRequest(Model):
    port_names: list[str] = []
    column_names: list[PortColumn] = []


class FlowRequest(Model):
    flow_names: list[str] = []
    metric_names: list[FlowColumn] = []
    tagged_metrics: dict[str, Any] | None = None


class MetricsRequest(BaseModel):
    """Which metrics; those of protocols are not simulated."""

    choice: str = "port"
    port: PortRequest = Field(default_factory=PortRequest)
    flow: FlowRequest = Field(default_factory=FlowRequest)
