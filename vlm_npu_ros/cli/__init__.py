"""The vlm-npu command."""
