"""fussy from Python, through ctypes: no compiler, no module to build.

    import fussy
    report = fussy.install("firmware-2.1.tar.gz.gpg", keyring="/etc/fussy/keys", target="/opt/firmware")
    print(report.path, "signed by", report.signer)

    with fussy.Session(target="/opt/firmware", progress=lambda phase, done, total: print(phase, done, total)) as session:
        session.install("firmware-2.1.tar.gz.gpg")

As a program: fussy.py PACKAGE KEYRING TARGET.
"""
import ctypes
import os
import sys

_lib = ctypes.CDLL(os.environ.get("FUSSY_LIBRARY", "libfussy.so.1"))


class Report(ctypes.Structure):
    """struct fussy_report; texts are bytes in ctypes, str from text()."""

    _fields_ = [
        ("size", ctypes.c_uint32), ("status", ctypes.c_int32), ("cause", ctypes.c_int32), ("phase", ctypes.c_int32),
        ("system_errno", ctypes.c_int32), ("recovered", ctypes.c_int32), ("signers", ctypes.c_uint32),
        ("encrypted", ctypes.c_uint32), ("bytes_unpacked", ctypes.c_uint64), ("bytes_written", ctypes.c_uint64),
        ("files", ctypes.c_uint64), ("files_shared", ctypes.c_uint64), ("_version", ctypes.c_char * 256),
        ("_previous", ctypes.c_char * 256), ("_signer", ctypes.c_char * 65), ("_reserved", ctypes.c_char * 63),
        ("_message", ctypes.c_char * 1024), ("_remedy", ctypes.c_char * 512), ("_path", ctypes.c_char * 1024),
        ("_output", ctypes.c_char * 2048),
    ]

    def __init__(self):
        super().__init__(size=ctypes.sizeof(Report))

    def __getattr__(self, name):
        if name in ("version", "previous", "signer", "message", "remedy", "path", "output"):
            return getattr(self, "_" + name).decode(errors="surrogateescape")
        raise AttributeError(name)


class Progress(ctypes.Structure):
    """struct fussy_progress."""

    _fields_ = [("size", ctypes.c_uint32), ("phase", ctypes.c_int32), ("done", ctypes.c_uint64), ("total", ctypes.c_uint64)]


_LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p)
_ProgressCallback = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(Progress))
_handle, _text = ctypes.c_void_p, ctypes.c_char_p


def _declare(name, result, *arguments):
    function = getattr(_lib, name)
    function.restype, function.argtypes = result, arguments
    return function


_version = _declare("fussy_version", _text)
_status_name = _declare("fussy_status_name", _text, ctypes.c_int32)
_install = _declare("fussy_install", ctypes.c_int32, _text, _text, _text, ctypes.POINTER(Report))
_new = _declare("fussy_session_new", ctypes.c_int32, ctypes.POINTER(_handle))
_free = _declare("fussy_session_free", None, _handle)
_message = _declare("fussy_session_message", _text, _handle)
_get_report = _declare("fussy_session_report", ctypes.c_int32, _handle, ctypes.POINTER(Report))
_set_log = _declare("fussy_session_set_log", ctypes.c_int32, _handle, _LogCallback, ctypes.c_void_p)
_set_progress = _declare("fussy_session_set_progress", ctypes.c_int32, _handle, _ProgressCallback, ctypes.c_void_p)
_set_fd = _declare("fussy_session_set_package_fd", ctypes.c_int32, _handle, ctypes.c_int32)
_set = {name: _declare("fussy_session_set_" + name, ctypes.c_int32, _handle, _text) for name in ("keyring", "target", "package_path")}
_enable = _declare("fussy_session_enable", ctypes.c_int32, _handle, _text)
_do = {name: _declare("fussy_session_" + name, ctypes.c_int32, _handle)
       for name in ("install", "install_bytes", "verify", "recover", "cancel", "clear_cancel")}


def _bytes(path):
    return None if path is None else os.fsencode(path)


class Error(Exception):
    """An operation failed: `status` as "unknown_signer", `report` as fussy.h has it."""

    def __init__(self, status, message, report=None):
        super().__init__(message)
        self.status = _status_name(status).decode()
        self.report = report


def version():
    return _version().decode()


def install(package, keyring=None, target=None):
    """Installs a package, and returns the report. @raises Error"""
    report = Report()
    status = _install(_bytes(package), _bytes(keyring), _bytes(target), ctypes.byref(report))
    if status:
        raise Error(status, report.message, report)
    return report


class Session:
    """A fussy_session. log(level, line); progress(phase, done, total), which may return True to cancel."""

    def __init__(self, keyring=None, target=None, log=None, progress=None):
        self._handle = _handle()
        status = _new(ctypes.byref(self._handle))
        if status:
            raise Error(status, "no session can be made")
        # ctypes keeps no reference to a callback: without ours they would be gone before they are called.
        self._log = _LogCallback(lambda user, level, line: log(level, line.decode(errors="replace"))) if log else _LogCallback()
        self._progress = (
            _ProgressCallback(lambda user, now: 1 if progress(now[0].phase, now[0].done, now[0].total) else 0)
            if progress else _ProgressCallback()
        )
        _set_log(self._handle, self._log, None)
        _set_progress(self._handle, self._progress, None)
        self._check(_set["keyring"](self._handle, _bytes(keyring)))
        self._check(_set["target"](self._handle, _bytes(target)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        _free(self._handle)
        self._handle = None

    def install(self, package):
        """From a path, or from an open file, pipe or socket. @raises Error"""
        return self._operate("install", package)

    def verify(self, package):
        return self._operate("verify", package)

    def enable(self, name):
        return self._done(_enable(self._handle, name.encode()))

    def recover(self):
        return self._done(_do["recover"](self._handle))

    def cancel(self):
        """From any thread."""
        _do["cancel"](self._handle)

    def _operate(self, name, package):
        if hasattr(package, "fileno"):
            self._check(_set_fd(self._handle, package.fileno()))
        else:
            self._check(_set["package_path"](self._handle, _bytes(package)))
        return self._done(_do[name](self._handle))

    def _check(self, status):
        if status:
            raise Error(status, _message(self._handle).decode(errors="replace"))

    def _done(self, status):
        report = Report()
        _get_report(self._handle, ctypes.byref(report))
        if status:
            raise Error(status, report.message, report)
        return report


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: fussy.py PACKAGE KEYRING TARGET")
    try:
        done = install(*sys.argv[1:])
    except Error as problem:
        sys.exit(f"{problem.status}: {problem}")
    print(f"{done.path}, signed by {done.signer}")
