"""Tests touch no home of a person's, no network, and leave the second core to others."""

from __future__ import annotations

import os

# Before torch is imported anywhere: a tiny model is not faster on two threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
