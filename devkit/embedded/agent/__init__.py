"""The cluster's own controller process: addresses for LoadBalancer Services, folders for volumes.

It runs beside the cluster as an ordinary host process, with only the standard library.
"""
