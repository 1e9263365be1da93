"""The command `ros2 vlm`, found by ros2cli through resource/ros2cli/entry_points.txt."""
