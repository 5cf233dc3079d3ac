"""What was measured, kept: one SQLite file a session, written as it is measured, sealed at its end."""

from aicalib_hw.records.contents import Attachment, EndStatus, Equipment, Event, RecordContents, read_record
from aicalib_hw.records.export import export_csv, export_json_lines
from aicalib_hw.records.seal import Verification, verify_record
from aicalib_hw.records.store import Record

__all__ = [
    "Attachment",
    "EndStatus",
    "Equipment",
    "Event",
    "Record",
    "RecordContents",
    "Verification",
    "export_csv",
    "export_json_lines",
    "read_record",
    "verify_record",
]
