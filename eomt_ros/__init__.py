"""Video segmentation for robots: `engine` (no ROS), `node` (rclpy), `evaluation` (bags in, numbers out)."""

import os
import pkgutil

# Before OpenCV is loaded, which looks at it once: a picture of some kilobytes can unpack to gigabytes.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 27))

# A source tree on sys.path finds the generated `eomt_ros.msg` in the colcon install this way.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"
