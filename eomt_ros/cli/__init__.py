"""The command line `eomt-ros`, one file per command. No ROS needed."""
