"""Recordings in, numbers and pictures out; no ROS needed."""
