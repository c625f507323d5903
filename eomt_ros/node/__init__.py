"""The ROS 2 node: topics, parameters, services and lifecycle around the engine."""
