"""Every word of a report, in English and Chinese side by side: one truth, and a gap is seen at once.

Chinese terms are those of JJF 1001, JJF 1059.1 and JJF 1094, as in `docs/reference/glossary.md`.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, tuple[str, str]] = {
    # title, banners
    "report": ("Measurement report", "测量报告"),
    "not a certificate": (
        "This is a measurement report, not a calibration certificate.",
        "本文件为测量报告，不是校准证书。",
    ),
    "simulated": ("SIMULATED", "仿真"),
    "simulated banner": (
        "SIMULATED – not a calibration of real equipment",
        "仿真数据 – 不是对真实设备的校准",
    ),
    "simulated sources": (
        "These sources are simulators. No value that depends on them says anything about a real object.",
        "以下来源为仿真器。依赖于它们的任何数值均不能说明真实被校对象的情况。",
    ),
    "times banner": (
        "The simulated world runs {rate} times as fast as the host's clock, which stamps readings and windows: "
        "durations and rates of the two do not agree.",
        "仿真世界的时间为主机时钟的 {rate} 倍，而读数与时间窗由主机时钟标记：两者的时长与速率不一致。",
    ),
    "aborted banner": ("ABORTED – the session was stopped before its end", "已中止 – 测量过程在结束前被停止"),
    "error banner": ("ENDED BY AN ERROR – the session did not come to its end", "因错误结束 – 测量过程未能正常完成"),
    "incomplete banner": (
        "INCOMPLETE – the session broke off and the record has no ending",
        "不完整 – 测量过程意外中断，原始记录没有结束标记",
    ),
    "kept": (
        "What had been measured by then is shown below; what is missing was not measured.",
        "下文列出中断之前已测得的内容；未列出的内容未经测量。",
    ),
    "changed banner": (
        "CHANGED – the record is not as it was written",
        "已被改动 – 原始记录与写入时不一致",
    ),
    # what was calibrated
    "platform": ("Platform", "被校平台"),
    "platform serial": ("serial number {serial}", "编号 {serial}"),
    "platform not named": ("not named in the bench file", "校准台文件未写明"),
    "ambient": ("Ambient conditions", "环境条件"),
    "ambient humidity": ("{humidity}\u00a0% relative humidity", "相对湿度 {humidity}\u00a0%"),
    "ambient source": ("source: {source}", "来源：{source}"),
    "ambient not recorded": (
        "not recorded; those of the data sheets are assumed",
        "未记录；假定符合数据手册规定的条件",
    ),
    # identity
    "session": ("Session", "测量过程"),
    "bench": ("Bench", "校准台"),
    "begun": ("Begun", "开始时间"),
    "ended": ("Ended", "结束时间"),
    "duration": ("Duration", "持续时间"),
    "status": ("Status", "状态"),
    "complete": ("complete", "完整"),
    "results": ("Results", "结果"),
    "results valid": ("all {all} valid", "{all} 项均有效"),
    "results not valid": ("{bad} of {all} NOT VALID", "{all} 项中 {bad} 项无效"),
    "not valid banner": (
        "{bad} of {all} RESULTS NOT VALID – the session came to its end, and these values must not be used",
        "{all} 项结果中 {bad} 项无效 – 测量过程已正常结束，但这些数值不得使用",
    ),
    "not valid note": (
        "The reasons stand below the points of the summary. Mend them, and repeat.",
        "原因列于结果汇总中各测量点之下。请消除这些原因后重新测量。",
    ),
    "aborted": ("aborted", "已中止"),
    "error": ("ended by an error", "因错误结束"),
    "incomplete": ("incomplete", "不完整"),
    "reason": ("Reason", "原因"),
    "decision rule": ("Decision rule", "判定规则"),
    "agreed": ("agreed before measuring", "测量前约定"),
    "plan": ("Plan", "测量方案"),
    "record": ("Record", "原始记录"),
    "software": ("Software", "软件"),
    "contents": ("Contents", "目录"),
    # summary
    "summary": ("Summary", "结果汇总"),
    "point": ("Point", "测量点"),
    "value": ("Reference value ± U", "参考值 ± U"),
    "k": ("k", "k"),
    "indication": ("Indication", "示值"),
    "error of indication": ("Error", "示值误差"),
    "mpe": ("MPE", "最大允许误差"),
    "u over mpev": ("U/MPEV", "U/MPEV"),
    "verdict": ("Verdict", "结论"),
    "under load": ("{load} load", "负载 {load}"),
    "nothing measured": (
        "No result was obtained in this session.",
        "本次测量未得到任何结果。",
    ),
    "statement": (
        "The reported expanded uncertainty U is the combined standard uncertainty multiplied by the coverage factor k "
        "corresponding to a coverage probability of about 95 %. MPE: maximum permissible error; MPEV: its absolute "
        "value. Error: indication minus reference value.",
        "报告的扩展不确定度 U 为合成标准不确定度乘以包含因子 k，对应的包含概率约为 95 %。MPE：最大允许误差；"
        "MPEV：最大允许误差的绝对值。示值误差：示值减去参考值。",
    ),
    "PASS": ("PASS", "合格"),
    "CONDITIONAL_PASS": ("CONDITIONAL PASS", "有条件合格"),
    "INDETERMINATE": ("INDETERMINATE", "待定"),
    "CONDITIONAL_FAIL": ("CONDITIONAL FAIL", "有条件不合格"),
    "FAIL": ("FAIL", "不合格"),
    "NOT_EVALUATED": ("NOT EVALUATED", "未评定"),
    "VALID": ("valid", "有效"),
    "INVALID": ("INVALID", "无效"),
    "ABORTED": ("ABORTED", "已中止"),
    "ERROR": ("ERROR", "出错"),
    "how to declare": (
        "Not evaluated: {points}. The bench declares no indication there, so there is nothing to compare with the "
        "reference value. For a verdict, add to the bench file what the platform says of itself:",
        "未评定：{points}。校准台文件未声明这些点的示值，因此没有可与参考值比较的量。如需给出结论，"
        "请在校准台文件中补充平台自身的示值：",
    ),
    "declared by": ("who says so: data sheet, BMC, PDU", "示值来源：数据手册、BMC、PDU"),
    # quantities
    "compute": ("Compute", "算力"),
    "power": ("Power draw", "功率（能耗）"),
    "energy": ("Energy", "电能"),
    "network": ("Network", "网络能力"),
    "storage": ("Storage", "存储能力"),
    "inference": ("Inference", "AI 推理"),
    "training": ("Training", "AI 训练"),
    "effective_compute": ("Normalised effective compute", "归一化有效算力"),
    "stop": (".", "。"),
    "comma": (", ", "、"),
    "definition": ("Definition", "量的定义"),
    "formula": ("Formula", "公式"),
    "source": ("Source", "来源"),
    "partial": (
        "This quantity was not measured to its end; these are the results that were obtained.",
        "该量未测量完毕；以下为已得到的结果。",
    ),
    "points": ("Points", "测量点"),
    "load asked": ("Load asked", "设定负载"),
    "load achieved": ("Load achieved", "实际负载"),
    "runs used": ("Runs used", "采用次数"),
    "of": ("{used} of {all}", "{used} / {all}"),
    "mean": ("Value", "测得值"),
    "repeatability": ("s of the runs", "重复性 s"),
    "expanded": ("U", "U"),
    "relative expanded": ("U relative", "相对 U"),
    "dof": ("ν<sub>eff</sub>", "ν<sub>eff</sub>"),
    "probability": ("p", "p"),
    "validity": ("Validity", "有效性"),
    "runs": ("Runs", "各次测量"),
    "run": ("Run", "次序"),
    "start": ("Start (UTC)", "开始（UTC）"),
    "used": ("Used", "采用"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "remarks": ("Remarks", "备注"),
    "decision": ("Decision", "判定"),
    "no decision": (
        "No decision was due: the bench declares no indication of any valid point.",
        "无需判定：校准台文件未声明任何有效测量点的示值。",
    ),
    "not decided": (
        "Not decided, as not valid: {points}. The indication is not held against a value that must not be used.",
        "因无效而未判定：{points}。不将示值与不得使用的数值比较。",
    ),
    "absolute error": ("|E|", "|E|"),
    "mpev": ("MPEV", "MPEV"),
    "conformance": ("Probability of conformance", "合格概率"),
    "budget": ("Uncertainty budget", "不确定度分量汇总"),
    "no budget": (
        "None: no point is valid, and a value that must not be used has no uncertainty.",
        "无：各测量点均无效，不得使用的数值不给出不确定度。",
    ),
    "component": ("Component", "不确定度分量"),
    "kind": ("Type", "类别"),
    "distribution": ("Distribution", "分布"),
    "standard uncertainty": ("Standard uncertainty", "标准不确定度"),
    "contribution": ("Contribution", "贡献"),
    "share": ("Share of variance", "方差占比"),
    "degrees": ("ν", "ν"),
    "shared": ("fully correlated with the others of “{shared}”", "与“{shared}”的其他分量完全相关"),
    "combined": ("Combined", "合成"),
    "normal": ("normal", "正态"),
    "rectangular": ("rectangular", "均匀"),
    "triangular": ("triangular", "三角"),
    "arcsine": ("arcsine", "反正弦"),
    "student": ("Student t", "t 分布"),
    "evidence": ("Evidence and settings of the measurement", "测量证据与设置"),
    "in the record": ("{count} numbers, in the record", "{count} 个数值，见原始记录"),
    "more in the record": ("… and {count} more in the record", "……其余 {count} 项见原始记录"),
    "further": ("Measured beside it", "同时测得"),
    "further note": (
        "These have definitions of their own. They are not calibrated points, and nothing compares them "
        "with the above.",
        "以下各项有各自的定义，不是校准点，也不与上述结果比较。",
    ),
    "other": ("Other measurements in the record", "原始记录中的其他测量"),
    "other channels": ("Other channels in the record", "原始记录中的其他通道"),
    "notes": ("Notes", "说明"),
    "note": ("note", "说明"),
    "several notes": ("notes", "说明"),
    "not evaluated value": ("no valid value", "无有效值"),
    # plots
    "plot rate": (
        "Above: rate of each run (bars; dashed: not used) and the reference value ±U (line and band). Below, where "
        "shown: rate of single slices, one colour a core or device; the slowest twentieth may lie below the axis",
        "上：各次测量的速率（横线；虚线：未采用）与参考值 ±U（细线与色带）。下（如有）：各时间片的速率，"
        "每核或设备一色；最慢的二十分之一可能低于坐标轴",
    ),
    "plot rate alt": (
        "Plot of the rate over {duration}: runs between {lowest} and {highest}, mean {mean}.",
        "速率随时间（{duration}）变化图：各次测量在 {lowest} 与 {highest} 之间，均值 {mean}。",
    ),
    "plot power": (
        "Power against load achieved; bars show ±U, diamonds the indication where one is declared",
        "功率与实际负载的关系；竖线为 ±U，菱形为已声明的示值",
    ),
    "plot power alt": (
        "Plot of power against load: {points}.",
        "功率与负载关系图：{points}。",
    ),
    "plot error": (
        "Error of indication with ±U, as a share of the permissible error; between the lines the error is permitted",
        "示值误差及其 ±U，以最大允许误差为单位；两条线之间为允许范围",
    ),
    "plot error alt": (
        "Plot of errors over permissible errors: {points}.",
        "示值误差与最大允许误差之比：{points}。",
    ),
    "plot series": (
        "{name} over time; shaded: the runs that were used",
        "{name} 随时间的变化；阴影：已采用的各次测量",
    ),
    "plot series some": (
        "{name} over time; shaded: the {used} runs that were used; hatched: the {unused} that were not",
        "{name} 随时间的变化；阴影：已采用的 {used} 次测量；斜线：未采用的 {unused} 次测量",
    ),
    "plot series none": (
        "{name} over time; hatched: the {unused} runs, none of which was used",
        "{name} 随时间的变化；斜线：{unused} 次测量，均未采用",
    ),
    "plot channel": ("{name} over time", "{name} 随时间的变化"),
    "plot series alt": (
        "Plot of {name} over {duration}, from {lowest} to {highest}, {count} samples, {lost} of them without value.",
        "{name} 随时间（{duration}）变化图，{lowest} 至 {highest}，共 {count} 个样本，其中 {lost} 个无值。",
    ),
    "axis time": ("Time in s", "时间 / s"),
    "axis load": ("Load achieved in %", "实际负载 / %"),
    "axis rate": ("Each core or device in {unit}", "单核或单设备速率 / ({unit})"),
    "axis total": ("Rate in {unit}", "速率 / ({unit})"),
    "axis value": ("{name} in {unit}", "{name} / ({unit})"),
    "axis error": ("Error / MPEV", "误差 / MPEV"),
    # equipment
    "equipment": ("Equipment", "测量设备"),
    "name": ("Name", "名称"),
    "maker": ("Maker", "制造商"),
    "model": ("Model", "型号"),
    "serial": ("Serial number", "编号"),
    "firmware": ("Firmware", "固件"),
    "address": ("Address", "地址"),
    "driver": ("Driver", "驱动程序"),
    "proven": ("Proven on", "实机验证"),
    "certificate": ("Certificate", "校准证书"),
    "issuer": ("Issued by", "发证机构"),
    "calibrated on": ("Calibrated on", "校准日期"),
    "valid until": ("Valid until", "有效期至"),
    "traceable to": ("Traceable to", "溯源至"),
    "no certificate": ("none given", "未提供"),
    "expired": ("expired at the time of use", "使用时已过期"),
    "certificate points": ("Points of certificate {number}", "证书 {number} 的数据"),
    "range": ("Range", "量程"),
    "at": ("At", "测量点"),
    "correction": ("Correction", "修正值"),
    "any": ("any", "任意"),
    "quantity": ("Quantity", "量"),
    "settings of": ("Settings in force: {name}", "生效设置：{name}"),
    "setting": ("Setting", "设置"),
    "in force": ("Value", "值"),
    "origin": ("Known from", "来源"),
    "instrument": ("read back", "回读"),
    "driver origin": ("set by the driver", "由驱动程序设置"),
    "fixed": ("fixed", "固定"),
    # rules
    "rule jjf1094": (
        "JJF 1094: where U ≤ MPEV / 3, pass if |E| ≤ MPEV, else fail. Where U is larger, pass if |E| ≤ MPEV − U, fail "
        "if |E| ≥ MPEV + U, and indeterminate in between.",
        "JJF 1094：当 U ≤ MPEV / 3 时，|E| ≤ MPEV 判为合格，否则不合格。当 U 较大时，|E| ≤ MPEV − U 判为合格，"
        "|E| ≥ MPEV + U 判为不合格，介于两者之间为待定。",
    ),
    "rule nonbinary_u": (
        "ILAC-G8:09/2019, non-binary with guard band U: pass if |E| ≤ MPEV − U, conditional pass up to MPEV, "
        "conditional fail up to MPEV + U, fail beyond.",
        "ILAC-G8:09/2019，保护带为 U 的非二元判定：|E| ≤ MPEV − U 判为合格，至 MPEV 为有条件合格，"
        "至 MPEV + U 为有条件不合格，超出则不合格。",
    ),
    "rule simple": (
        "Simple acceptance: pass if |E| ≤ MPEV, else fail. The uncertainty does not enter; near the limit the "
        "probability of a wrong statement reaches 50 %.",
        "简单接受：|E| ≤ MPEV 判为合格，否则不合格。不考虑不确定度；在限值附近误判概率可达 50 %。",
    ),
    "rule none": (
        "None: values and uncertainties are stated, conformity is not.",
        "不判定：只给出数值与不确定度，不作符合性声明。",
    ),
    # assumptions
    "assumptions": ("Stated and assumed", "规范规定与本报告的假设"),
    "assumptions note": (
        "The draft calibration specification for AI computing platforms leaves points open. Where this report relies "
        "on an answer of its own, it is named here.",
        "《人工智能算力平台校准规范》草案中有若干未作规定之处。本报告依赖的自行约定列于此处。",
    ),
    "stated": ("The draft states", "草案规定"),
    "assumed": ("Assumed here", "本报告的假设"),
    # environment
    "environment": ("Environment and clocks", "环境与时钟"),
    "host": ("Host", "主机"),
    "clock": ("Clock", "时钟"),
    "clock evidence": ("What the host said of its clock", "主机时钟的自述状态"),
    "at time": ("At (UTC)", "时刻（UTC）"),
    "synchronised": ("Synchronised", "已同步"),
    "offset": ("Offset", "偏移"),
    "maximum error": ("Maximum error", "最大误差"),
    "frequency": ("Frequency correction", "频率修正"),
    "unknown": ("not known", "未知"),
    "clock drift": (
        "UTC against the monotonic clock, from begin to end of the session",
        "测量期间 UTC 时钟相对单调时钟的偏移",
    ),
    "clock note": (
        "Durations come from the monotonic clock only. A large difference means that UTC was set meanwhile; "
        "it does not touch the results.",
        "所有时间间隔仅取自单调时钟。偏移较大表明期间调整过 UTC 时间，不影响测量结果。",
    ),
    "code": ("Code in use", "所用代码"),
    "modules": (
        "{count} modules, SHA-256 of all their digests {digest}",
        "{count} 个模块，其摘要的 SHA-256 为 {digest}",
    ),
    # events
    "events": ("Events and anomalies", "事件与异常"),
    "time": ("Time (UTC)", "时间（UTC）"),
    "event": ("Event", "事件"),
    "details": ("Details", "详情"),
    "anomaly": ("anomaly", "异常"),
    "rows announced": (
        "{count} further events of the chain announce rows of the record.",
        "事件链中另有 {count} 个事件用于登记原始记录的各行。",
    ),
    # seal
    "integrity": ("Record and seal", "原始记录与封存"),
    "file": ("File", "文件"),
    "file digest": ("SHA-256 of the file", "文件的 SHA-256"),
    "seal": ("Seal", "封存摘要"),
    "no seal": ("none: the session broke off", "无：测量过程意外中断"),
    "checked": ("Checked when this report was made", "生成本报告时的核查"),
    "unchanged": (
        "every row, event and digest is as it was written",
        "各行、各事件及其摘要均与写入时一致",
    ),
    "seal note": (
        "The seal is the SHA-256 of the record's manifest. It proves that the record is unchanged since this report, "
        "as long as this report is kept elsewhere; it is not a signature.",
        "封存摘要为原始记录清单的 SHA-256。只要本报告另行保存，即可证明原始记录此后未被改动；它不是签名。",
    ),
    "made by": ("Made by aicalib-hw {version} from record {id}.", "由 aicalib-hw {version} 根据原始记录 {id} 生成。"),
    "quoted": (
        "",
        "本报告的标题、表头、测量点、分量名称与判定用语为中文；仪器、驱动程序与测量程序给出的备注、理由、来源与说明"
        "均按英文原文引用，未作翻译。",
    ),
    "end": ("End of report", "报告结束"),
    "page": ("Page", "页"),
}
