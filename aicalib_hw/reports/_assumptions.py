"""What the draft specification states, and what a report assumes where it is silent; as `docs/explanation/` tells.

By quantity, "" for all; each row English and Chinese.
"""

from __future__ import annotations

from collections.abc import Mapping

STATED_AND_ASSUMED: Mapping[str, tuple[tuple[tuple[str, str], tuple[str, str]], ...]] = {
    "": (
        (
            ("A relative maximum permissible error", "相对最大允许误差"),
            ("It refers to the value of the reference standard.", "以参考标准测得的值为基准。"),
        ),
        (
            ("Nothing on what the platform indicates", "未规定平台的示值是什么"),
            (
                "The indication is what the bench file declares, with its source. Without one there is no verdict.",
                "示值为校准台文件中声明的值并注明来源；未声明则不作判定。",
            ),
        ),
        (
            ("Nothing on repeats and durations", "未规定重复次数与时长"),
            ("As the plan of this session says.", "按本次测量方案执行。"),
        ),
        (
            ("Nothing on the decision rule", "未规定判定规则"),
            (
                "The rule that the bench file names, recorded before measuring.",
                "采用校准台文件指定的规则，测量前已记录。",
            ),
        ),
    ),
    "compute": (
        (
            ("“Single-precision floating-point operations per second”", "“单精度浮点运算次数每秒”"),
            (
                "Multiply-adds on the vector units, two operations each, in the precision that the definition names.",
                "向量单元上的乘加运算，每次计两次运算，精度见量的定义。",
            ),
        ),
        (
            ("“The value the suite displays”", "“测试集显示的值”"),
            (
                "The sustained rate: all operations of all cores over their common window.",
                "持续速率：所有核在公共时间窗内的全部运算。",
            ),
        ),
    ),
    "power": (
        (
            ("“Energy”, with a range in kW", "“能耗”，范围以 kW 表示"),
            ("Mean active power over a window.", "时间窗内的平均有功功率。"),
        ),
        (
            ("“Under different compute loads”", "“不同算力负载下”"),
            (
                "The loads of the plan, as fractions of what the load can do; the load achieved is stated beside.",
                "按方案设定的负载，以满负载的比例表示；同时给出实际负载。",
            ),
        ),
    ),
    "energy": (
        (
            ("“Energy”, with a range in kW", "“能耗”，范围以 kW 表示"),
            ("Energy in J has a definition of its own.", "以 J 为单位的电能另有定义。"),
        ),
    ),
    "network": (
        (
            ("“Network performance”", "“网络性能”"),
            (
                "The rate received, at the layer and frame size that the definition names, under the load of the plan.",
                "在方案的发送负载下，按量的定义所示的层与帧长接收到的速率。",
            ),
        ),
        (
            ("Nothing on directions", "未规定方向"),
            (
                "Each direction by itself; where both run at a time, the slower one counts.",
                "各方向分别测量；双向同时测量时取较慢的方向。",
            ),
        ),
    ),
    "inference": (
        (
            ("“Run inference, record the displayed value”, tokens", "“运行推理，记录显示值”，单位为 Tokens"),
            (
                "Output tokens a second that arrived at a client, as many as the service's own usage states, held "
                "against the events that came, the length asked for and, where served, the engine's counters.",
                "每秒到达客户端的输出 token，数量以服务端自身的 usage 为准，"
                "并与到达的事件数、要求的长度以及引擎计数器（如有）核对。",
            ),
        ),
        (
            ("Nothing on window and load", "未规定时间窗与负载"),
            (
                "A window in which as many requests are under way as the plan says, of prompts and answers of fixed "
                "length, after a warm-up.",
                "预热之后、按方案保持固定请求数的时间窗；输入与输出长度固定。",
            ),
        ),
        (
            ("A range up to 510 × 10¹⁵", "范围至 510 × 10¹⁵"),
            (
                "Read as a rate times the parameters of the model, which stands beside the rate where the plan names "
                "them, with a definition of its own.",
                "理解为速率乘以模型参数量；方案给出参数量时，该值与速率并列，并有单独的定义。",
            ),
        ),
    ),
    "training": (
        (
            ("“Run training, record the displayed value”", "“运行训练，记录显示值”"),
            (
                "Tokens of whole, applied steps by their time; no rate, TFLOP/s or utilisation that a framework "
                "prints. A followed job's times are held against another clock.",
                "由已生效的完整优化步的 token 数与时间计算；不采用框架显示的速率、TFLOP/s 或利用率。"
                "所跟踪作业的时间另以其他时钟核对。",
            ),
        ),
        (
            ("Nothing on evaluation, checkpoints, padding", "未规定评估、检查点与填充"),
            (
                "Time between the steps makes a run invalid beyond the share that the plan allows; padding counts as "
                "the job has it.",
                "步外时间超过方案允许的占比时该次测量无效；填充 token 按作业的方式计入。",
            ),
        ),
        (
            ("A range up to 170 × 10¹⁵", "范围至 170 × 10¹⁵"),
            (
                "Read as a rate times the parameters of the model, which stands beside the rate where the plan names "
                "them, with a definition of its own.",
                "理解为速率乘以模型参数量；方案给出参数量时，该值与速率并列，并有单独的定义。",
            ),
        ),
    ),
    "storage": (
        (
            ("“The value the program displays”", "“压力测试软件显示的值”"),
            (
                "Bytes by running time, held against the kernel's counters; no rate that the program prints.",
                "由字节数与运行时间计算，并与内核计数器核对；不采用程序自行显示的速率。",
            ),
        ),
        (
            ("Nothing on patterns and block sizes", "未规定访问模式与块长"),
            (
                "The patterns of the plan, past the page cache, on files that were filled before; each definition "
                "names its pattern.",
                "按方案的访问模式，绕过页缓存，在事先写满的文件上测量；量的定义注明访问模式。",
            ),
        ),
    ),
    "effective_compute": (
        (
            ("A range of 0 to 100 %, and no procedure", "范围 0～100 %，未规定方法"),
            (
                "A definition of this project, version 1: the time in which the valid operations of the model could "
                "have been done at the reference rate, as a share of the time that passed. More than 100 % is invalid.",
                "本项目自行定义（第 1 版）：有效模型运算按参考速率折算的时间占经过时间的比例；超过 100 % 视为无效。",
            ),
        ),
    ),
}
