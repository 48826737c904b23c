"""The parts of MonitoringStack."""
