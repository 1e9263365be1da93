"""Images and questions in, answers out; no ROS in here."""
