"""Simulated: stands where rknn-toolkit-lite2 would be."""
