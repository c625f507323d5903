"""What every test has: a ROS 2 graph of its own."""

import os

# Set before anything starts a participant. Domains above 101 collide with the ports Linux hands out to programs.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
