"""Plain types that every layer shares: standard library and pydantic only."""
