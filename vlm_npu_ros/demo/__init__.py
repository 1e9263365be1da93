"""Synthetic scenes: what the demo model was trained on and what the demo shows."""
