"""The servers that integration tests run against, one of each for all tests of a process."""

from tests.support.minio import minio_server
from tests.support.seaweedfs import seaweedfs_server

__all__ = ["minio_server", "seaweedfs_server"]
