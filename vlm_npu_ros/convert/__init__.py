"""From checkpoints to the files that a board runs; no ROS in here."""
