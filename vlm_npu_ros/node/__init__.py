"""The ROS side: cameras, goals, parameters."""
