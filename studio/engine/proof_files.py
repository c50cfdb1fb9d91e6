"""The names of what an export has beside its weights, known without the libraries that write them."""

from __future__ import annotations

CARD = "README.md"
"""The model card, as hubs read it."""
VERIFICATION = "verification.json"
"""What the comparison with the live model showed."""
RECEIPT = "receipt.json"
"""The run's receipt, what was exported, and the SHA-256 of every other file of the export."""
