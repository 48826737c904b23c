"""MonitoringStack: metrics, alerts, dashboards and logs."""
