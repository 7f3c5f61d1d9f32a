"""Chapter 08: AdamW, schedules, clipping, one batch by heart."""
