"""A report in one language: words, labels, assumptions and definitions.

What instruments, drivers and procedures said is quoted as they said it, in whichever language the report is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from aicalib_hw import definitions
from aicalib_hw.errors import UsageError
from aicalib_hw.metrology.indications import NORMALISED
from aicalib_hw.reports import _names
from aicalib_hw.reports._assumptions import STATED_AND_ASSUMED
from aicalib_hw.reports._labels import FACTS
from aicalib_hw.reports._words import WORDS

LANGUAGES = ("en", "zh")

_FRAME_SIZE = re.compile(r"\d+B|\{size\}B")

_SENTENCES: Mapping[str, str] = {
    "vector/sustained": "{precision} 向量单元乘加运算，以 {accumulator} 累加：所有核在公共时间窗内的全部运算",
    "vector/peak": "{precision} 向量单元乘加运算，以 {accumulator} 累加：所有核的时间片同时重叠的最佳时刻",
    "gemm/sustained": "{precision} 矩阵乘（所装 BLAS）：全部重复调用除以其总时间",
    "gemm/best-call": "{precision} 矩阵乘（所装 BLAS）：重复调用中最快的一次",
    "matrix-/sustained": "{precision} 矩阵乘指令 {detail}（操作数留在芯片内），以 {accumulator} 累加："
    "所有多处理器从首次启动到末次结束的全部运算",
    "matrix-/peak": "{precision} 矩阵乘指令 {detail}（操作数留在芯片内），以 {accumulator} 累加：最快的一次启动",
    "matrix-amx-/sustained": "{precision} 矩阵乘扩展 {detail}（操作数留在 tile 寄存器内），以 {accumulator} 累加："
    "所有核在公共时间窗内的全部运算",
    "matrix-amx-/peak": "{precision} 矩阵乘扩展 {detail}（操作数留在 tile 寄存器内），以 {accumulator} 累加："
    "所有核的时间片同时重叠的最佳时刻",
    "gemm-/sustained": "{precision} 矩阵乘算子 {detail}，累加精度 {accumulator}：全部重复调用除以其总时间",
    "gemm-/best-call": "{precision} 矩阵乘算子 {detail}，累加精度 {accumulator}：两次事件之间最快的一组调用",
    "power/active/mean": "整个输入端的有功功率：完全落在时间窗内的各次数据更新的平均值",
    "energy/active/meter-integrator": "时间窗内的有功电能，由功率计自身的积分器给出",
    "energy/active/summed-intervals": "时间窗内的有功电能，由功率计连续的区间平均值逐一累加得到，无一缺失",
    "rate/L1/unidirectional": "所述发送负载下闸门时间内单方向接收的速率，计入帧（含 FCS）、前导码和帧间隔，帧长见标识",
    "rate/L2-fcs/unidirectional": "所述发送负载下闸门时间内单方向接收的速率，计入含 FCS 的帧，帧长见标识",
    "rate/L2-nofcs/unidirectional": "所述发送负载下闸门时间内单方向接收的速率，计入不含 FCS 的帧，帧长见标识",
    "rate/L1/bidirectional": "双向同时发送时，较慢方向在闸门时间内接收的速率，"
    "计入帧（含 FCS）、前导码和帧间隔，帧长见标识",
    "throughput/L1/unidirectional": "无丢帧时的最高发送速率，计入帧（含 FCS）、前导码和帧间隔，帧长见标识",
    "rate/L2-fcs/bidirectional": "双向同时发送时，较慢方向在闸门时间内接收的速率，计入含 FCS 的帧，帧长见标识",
    "throughput/L2-fcs/unidirectional": "无丢帧时的最高发送速率，计入含 FCS 的帧，帧长见标识",
    "rate/L2-nofcs/bidirectional": "双向同时发送时，较慢方向在闸门时间内接收的速率，计入不含 FCS 的帧，帧长见标识",
    "throughput/L2-nofcs/unidirectional": "无丢帧时的最高发送速率，计入不含 FCS 的帧，帧长见标识",
    "rate/L4/tcp/unidirectional": "一个闸门时间内单方向由 TCP 交付给接收程序的数据速率，不计任何报头",
    "rate/L4/udp/unidirectional": "一个闸门时间内单方向由 UDP 交付给接收程序的数据速率，不计任何报头",
    "effective-compute/v1/palm-6n-12lhqt-no-embed-no-causal/calibrated": "训练（每 token 6 N + 12 L H Q T 次运算）："
    "有效模型运算按全部设备前后实测的持续速率折算的时间占经过时间的比例",
    "effective-compute/v1/palm-6n-12lhqt-no-embed-no-causal/nominal": "训练（每 token 6 N + 12 L H Q T 次运算）："
    "有效模型运算按全部设备数据手册的稠密速率折算的时间占经过时间的比例",
    "effective-compute/v1/2n-4lhq-position-no-embed/calibrated": "推理（提示 token 计 2 N + 4 L H Q × 位置，"
    "生成 token 计 2 N + 4 L H Q × 上下文长度）：有效模型运算按全部设备前后实测的持续速率折算的时间占经过时间的比例",
    "effective-compute/v1/2n-4lhq-position-no-embed/nominal": "推理（提示 token 计 2 N + 4 L H Q × 位置，"
    "生成 token 计 2 N + 4 L H Q × 上下文长度）：有效模型运算按全部设备数据手册的稠密速率折算的时间占经过时间的比例",
    "effective-compute/v1/all-workloads/calibrated": "依次运行的各负载（各按其约定计数）的有效模型运算"
    "按各次运行前后实测的参考速率折算的时间占各负载总时间的比例",
    "effective-compute/v1/all-workloads/nominal": "依次运行的各负载（各按其约定计数）的有效模型运算"
    "按数据手册的参考速率折算的时间占各负载总时间的比例",
    "rate/storage/sequential-read": "时间窗内全部作业绕过页缓存顺序读取的数据速率，块大小与队列深度另行注明",
    "rate/storage/sequential-write": "时间窗内全部作业绕过页缓存顺序写入并已落到设备的数据速率，"
    "块大小与队列深度另行注明",
    "rate/storage/random-read": "时间窗内全部作业绕过页缓存随机读取的数据速率，块大小与队列深度另行注明",
    "rate/storage/mixed": "时间窗内全部作业绕过页缓存随机读写的数据速率之和，读写比例、块大小与队列深度另行注明",
    "token/output/usage-counted/steady-window": "始终保持固定请求数时，"
    "从一次到达至另一次到达的时间窗内到达客户端的输出 token，"
    "数量以服务端各请求的 usage 为准",
    "token/output/usage-counted/offered-window": "按所述速率发送请求时，"
    "从一次到达至另一次到达的时间窗内到达客户端的输出 token，"
    "数量以服务端各请求的 usage 为准",
    "token/output/usage-counted/completed-window": "从一次到达至另一次到达的时间窗内完整到达的应答的输出 token，"
    "数量以服务端各请求的 usage 为准",
    "token/output/length-counted/steady-window": "始终保持固定请求数时，"
    "从一次到达至另一次到达的时间窗内到达客户端的输出 token，"
    "服务端不给出 usage，按各请求要求的长度计",
    "token/output/length-counted/offered-window": "按所述速率发送请求时，"
    "从一次到达至另一次到达的时间窗内到达客户端的输出 token，"
    "服务端不给出 usage，按各请求要求的长度计",
    "token/output/length-counted/completed-window": "从一次到达至另一次到达的时间窗内完整到达的应答的输出 token，"
    "服务端不给出 usage，按各请求要求的长度计",
    "token/total/usage-counted/steady-window": "始终保持固定请求数时，"
    "时间窗内首个文本到达的请求的输入 token 与窗内到达的输出 token，"
    "均以服务端的 usage 为准",
    "token/total/usage-counted/offered-window": "按所述速率发送请求时，"
    "时间窗内首个文本到达的请求的输入 token 与窗内到达的输出 token，"
    "均以服务端的 usage 为准",
    "token/output/engine-counter/window": "推理引擎自身计数器两次变化之间的输出 token，不论由谁请求",
    "token/training/applied-steps/timed-by-job": "已生效的完整优化步所含的 token，时间取作业日志给出的各步时间",
    "token/training/applied-steps/timed-here": "已生效的完整优化步所含的 token，"
    "时间取所有设备共同开始、共同结束的时间窗",
    "rate/storage/checkpoint-write": "绕过页缓存写完整个检查点的数据速率："
    "每个作业各写一个新文件，至最慢作业的数据落到设备为止",
}


class Words:
    """The words of one language: `words("summary")`, with the fields that the text names."""

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise UsageError(f"no report in language {language!r}", advice=f"choose one of: {', '.join(LANGUAGES)}")
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, **fields: object) -> str:
        text = WORDS[key][self._column]
        return text.format(**fields) if fields else text

    def known(self, key: str) -> str:
        """Return the word for a key of the data, the key itself where it has none."""
        return self(key) if key in WORDS else key

    def fact(self, key: str) -> str:
        """Return the label of a key of evidence, settings or events; the key as words where it has none."""
        return FACTS[key][self._column] if key in FACTS else key.replace("_", " ")

    def title(self, text: str) -> str:
        """Return the title of a point, its known parts translated."""
        return text if self.language == "en" else _names.title(text)

    def component(self, name: str) -> str:
        """Return the name of a component of uncertainty; as it was given where there is no translation."""
        return name if self.language == "en" else _names.COMPONENTS.get(name, name)

    def assumptions(self, quantities: tuple[str, ...]) -> list[tuple[str, str]]:
        """Return what is stated and what is assumed, for everything and for these quantities."""
        rows = [row for key in ("", *quantities) for row in STATED_AND_ASSUMED.get(key, ())]
        return [(stated[self._column], assumed[self._column]) for stated, assumed in rows]

    def sentence(self, definition: definitions.Definition) -> str:
        """Return the sentence of a definition; the English one where there is no translation."""
        if self.language == "en":
            return definition.sentence
        plain = definition.id.removesuffix(NORMALISED)
        if plain != definition.id:
            return f"{self.sentence(definitions.require(plain))}，再乘以模型的参数量"
        family, *middle = definition.id.split("/")
        if family != "flop":
            key = "/".join(part for part in (family, *middle) if not _FRAME_SIZE.fullmatch(part))
            return _SENTENCES.get(key, definition.sentence)
        precision, _, accumulator = middle[0].partition("-accumulate-")
        path, dash, detail = middle[1].partition("-")
        of_cores = "amx-" if detail.startswith("amx-") else ""
        text = _SENTENCES.get("/".join([path + dash + of_cores, *middle[2:]]))
        if text is None:
            return definition.sentence
        return text.format(precision=precision, accumulator=accumulator, detail=detail)
