"""Where runs are kept, started, watched and stopped."""
