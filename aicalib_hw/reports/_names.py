"""Names that procedures and drivers give to points and components, in Chinese: fixed vocabulary, put into other words.

What is not found here stays as it was given, as all free text does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

COMPONENTS: Mapping[str, str] = {
    "repeatability": "重复性",
    "resolution": "分辨力",
    "counter resolution": "计数器分辨力",
    "time base": "时基",
    "time base of the gate": "闸门时基",
    "time base of the device": "设备时基",
    "time base of the receiver": "接收端时基",
    "time base of the job's host": "作业所在主机的时基",
    "agreement with another clock": "与另一时钟的一致性",
    "operations": "运算计数",
    "window edges": "时间窗边缘",
    "ends of the window": "时间窗两端",
    "the measurement's own work": "测量自身的开销",
    "reading the clock": "读取时钟",
    "step of the clock": "时钟步进",
    "scatter of the clock": "时钟分散性",
    "start and stop": "起止时刻",
    "start and stop of the gate": "闸门起止时刻",
    "moment of the end": "结束时刻",
    "end of the receiver's time": "接收端计时的结束",
    "accuracy of reading": "准确度（读数部分）",
    "accuracy of range": "准确度（量程部分）",
    "power factor": "功率因数影响",
    "self-heating": "自热",
    "certificate": "校准证书",
    "drift": "漂移",
    "steps of the running time": "运行时间的步进",
    "filling and draining the queue": "队列的充满与排空",
    "others on the device": "设备上的其他读写",
    "bytes that the device did not count": "设备未计入的字节",
    "streams cut by the window": "被时间窗截断的数据流",
    "arrival stamps": "到达时间戳",
    "arrivals": "到达时刻",
    "digits of the log": "日志的位数",
    "as PTDaemon states it": "按 PTDaemon 的说明",
}

_PARTS: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (r"(\S+) sustained", r"\1 持续"),
        (r"(\d+) accelerators together", r"\1 个加速器合计"),
        (r"(\d+) (\S+) accelerators together", r"\1 个 \2 加速器合计"),
        (r"local to remote", "本机至对端"),
        (r"remote to local", "对端至本机"),
        (r"both ways", "双向"),
        (r"(\S+) to (\S+)", r"\1 至 \2"),
        (r"layer (\d)", r"第 \1 层"),
        (r"sequential read", "顺序读"),
        (r"sequential write", "顺序写"),
        (r"random read", "随机读"),
        (r"random write", "随机写"),
        (r"mixed", "混合读写"),
        (r"checkpoint write", "写检查点"),
        (r"(\d+) at a time", r"并发 \1"),
        (r"(\S+) requests a second", r"每秒 \1 个请求"),
        (r"(\d+) \+ (\d+) tokens", r"\1 + \2 token"),
        (r"times (\S+) parameters", r"乘以参数量 \1"),
        (r"batch of (\d+) × (\d+) tokens", r"批量 \1 × \2 token"),
        (r"energy", "电能"),
        (r"idle", "空载"),
    )
)


def title(text: str) -> str:
    """Return the title of a point in Chinese, part by part; a part that is not known stays as it is."""
    return "，".join(_part(part) for part in text.split(", "))


def _part(text: str) -> str:
    for pattern, replacement in _PARTS:
        if found := pattern.fullmatch(text):
            return found.expand(replacement)
    return text
