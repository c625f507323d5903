"""Video segmentation for robots: `engine` (no ROS), `node` (rclpy), `evaluation` (bags in, numbers out)."""

import pkgutil

# A source tree on sys.path finds the generated `eomt_ros.msg` in the colcon install this way.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
