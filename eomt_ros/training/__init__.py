"""Own classes: data sets from recordings, and the training of networks on them; no ROS."""
