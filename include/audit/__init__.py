"""The proof that every record arrived once, and the way of a single record (docs/audit.md).

    python -m include.audit run                      # audit the closed days that have no manifest yet
    python -m include.audit where 2/4217             # where is offset 4217 of partition 2?

`verify.py` repeats the proof without a line of the other modules: it needs only Python and a copy of the bucket.
"""
