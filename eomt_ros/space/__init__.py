"""From pixels to metres: pinhole geometry, clouds, and where things are and how they move; no ROS, no torch."""
