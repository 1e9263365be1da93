"""Rockchip boards: a .rknn vision encoder and a .rkllm language model on the NPU."""
