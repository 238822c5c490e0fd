"""The one place where errors of the file system become ours."""

import errno

from finetune_sdk.errors import FinetuneError, ObjectNotFound, StorageDenied, StorageUnavailable

_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}


def translate_file_error(error: OSError, uri: str, *, writing: bool) -> FinetuneError:
    """What an error of the file system at `uri` means for a run."""
    said = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return StorageUnavailable(f"{uri} cannot be written: {_FULL[error.errno]}; free space and start again")
    if error.errno in _REFUSED:
        doing, remedy = ("written", "a folder that may be written") if writing else ("read", "permission to read it")
        return StorageDenied(f"{uri} cannot be {doing} ({said}): give {remedy}")
    if error.errno in _IN_THE_WAY or (error.errno == errno.ENAMETOOLONG and writing):
        if writing:
            return StorageDenied(f"{uri} cannot be written ({said}): something else lies in its place, choose another")
        return ObjectNotFound(f"{uri} is no file ({said})")
    if not writing and error.errno in (errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG):
        return ObjectNotFound(f"{uri} does not exist")
    return StorageUnavailable(f"{uri} cannot be {'written' if writing else 'read'}: {said}")
