"""Damaged files through the same functions that an upload goes through: any of them, never a crash."""
