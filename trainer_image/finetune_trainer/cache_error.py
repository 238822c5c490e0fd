"""Why the local cache, of pictures and of weights, cannot be written."""

import errno
from pathlib import Path

from finetune_sdk.errors import FinetuneError, StorageDenied, StorageUnavailable


def cache_error(error: OSError, folder: Path) -> FinetuneError:
    """What a failed write to the cache means to the user."""
    remedy = "set FINETUNE_CACHE to a folder on another disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageUnavailable(f"the disk of the cache folder {folder} is full: free space there, or {remedy}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageDenied(f"the cache folder {folder} cannot be written ({error.strerror}): allow it, or {remedy}")
    return StorageUnavailable(f"the cache folder {folder} cannot be used ({error}): {remedy}")
