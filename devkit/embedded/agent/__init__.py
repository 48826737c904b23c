"""The cluster's own controller process: addresses for LoadBalancer Services, folders for volumes.

It runs beside the cluster as an ordinary program of the host, with nothing but the standard library.
"""
