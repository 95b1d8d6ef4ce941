"""calls.py - which errors a system call can have, and whether it can wait

A row: the errors that are tried, whether it can wait (for a disk, a server or another
process; a call that cannot is never delayed), and whether it changes anything that others can see.
A process that dies before a call that changes nothing leaves what it leaves when it dies before
the next one that does, so it dies before those only. What is not here is not looked at:
what asks for the process's own affairs (getpid, sigaction, brk), the heap and futexes.
"""

FILE = "EIO ENOMEM EACCES ESTALE"
SPACE = "EIO ENOSPC EDQUOT ESTALE"
DIRECTORY = "EIO ENOSPC EDQUOT ENOMEM EACCES EROFS ESTALE"
MAKE = "EMFILE ENOMEM"
CAN_WAIT, CANNOT = True, False
CHANGES, LOOKS = True, False

CALLS = {
    # names in directories
    "open": (DIRECTORY + " EINTR EMFILE", CAN_WAIT, CHANGES),
    "openat": (DIRECTORY + " EINTR EMFILE", CAN_WAIT, CHANGES),
    "mkdir": (DIRECTORY, CAN_WAIT, CHANGES),
    "mkdirat": (DIRECTORY, CAN_WAIT, CHANGES),
    "rename": (DIRECTORY, CAN_WAIT, CHANGES),
    "renameat": (DIRECTORY, CAN_WAIT, CHANGES),
    "renameat2": (DIRECTORY, CAN_WAIT, CHANGES),
    "link": (DIRECTORY, CAN_WAIT, CHANGES),
    "linkat": (DIRECTORY, CAN_WAIT, CHANGES),
    "symlink": (DIRECTORY, CAN_WAIT, CHANGES),
    "symlinkat": (DIRECTORY, CAN_WAIT, CHANGES),
    "unlink": ("EIO ENOMEM EACCES EROFS ESTALE", CAN_WAIT, CHANGES),
    "unlinkat": ("EIO ENOMEM EACCES EROFS ESTALE", CAN_WAIT, CHANGES),
    "rmdir": ("EIO ENOMEM EACCES EROFS ESTALE", CAN_WAIT, CHANGES),
    "access": (FILE + " EROFS", CAN_WAIT, LOOKS),
    "faccessat": (FILE + " EROFS", CAN_WAIT, LOOKS),
    "faccessat2": (FILE + " EROFS", CAN_WAIT, LOOKS),
    "stat": (FILE, CAN_WAIT, LOOKS),
    "lstat": (FILE, CAN_WAIT, LOOKS),
    "newfstatat": (FILE, CAN_WAIT, LOOKS),
    "statx": (FILE, CAN_WAIT, LOOKS),
    "fstat": ("EIO ESTALE", CAN_WAIT, LOOKS),
    "statfs": (FILE + " EINTR", CAN_WAIT, LOOKS),
    "fstatfs": ("EIO EINTR ESTALE", CAN_WAIT, LOOKS),
    "readlink": (FILE, CAN_WAIT, LOOKS),
    "readlinkat": (FILE, CAN_WAIT, LOOKS),
    "getdents64": ("EIO ENOMEM ESTALE", CAN_WAIT, LOOKS),
    "chdir": (FILE, CAN_WAIT, LOOKS),
    "fchdir": (FILE, CAN_WAIT, LOOKS),
    "chmod": ("EIO EACCES EROFS", CAN_WAIT, CHANGES),
    "fchmod": ("EIO EROFS", CAN_WAIT, CHANGES),
    "fchmodat": ("EIO EACCES EROFS", CAN_WAIT, CHANGES),

    # what is in a file
    "read": ("EIO EINTR ESTALE", CAN_WAIT, LOOKS),
    "pread64": ("EIO EINTR ESTALE", CAN_WAIT, LOOKS),
    "preadv": ("EIO EINTR ESTALE", CAN_WAIT, LOOKS),
    "readv": ("EIO EINTR ESTALE", CAN_WAIT, LOOKS),
    "write": (SPACE + " EINTR", CAN_WAIT, CHANGES),
    "pwrite64": (SPACE + " EINTR", CAN_WAIT, CHANGES),
    "pwritev": (SPACE + " EINTR", CAN_WAIT, CHANGES),
    "writev": (SPACE + " EINTR", CAN_WAIT, CHANGES),
    "fsync": (SPACE + " EINTR EROFS", CAN_WAIT, CHANGES),
    "fdatasync": (SPACE + " EINTR EROFS", CAN_WAIT, CHANGES),
    "sync_file_range": (SPACE, CAN_WAIT, CHANGES),
    "syncfs": (SPACE, CAN_WAIT, CHANGES),
    "fallocate": (SPACE + " EINTR", CAN_WAIT, CHANGES),
    "ftruncate": (SPACE + " EINTR EROFS", CAN_WAIT, CHANGES),
    "truncate": (SPACE + " EINTR EROFS EACCES", CAN_WAIT, CHANGES),
    "lseek": ("EIO ESTALE", CAN_WAIT, LOOKS),
    "flock": ("EAGAIN EINTR ENOMEM", CAN_WAIT, CHANGES),
    "fcntl": ("EAGAIN EINTR ENOMEM EIO", CAN_WAIT, CHANGES),  # locks only; see worth()
    "ioctl": ("EIO ENOMEM", CAN_WAIT, LOOKS),
    "getxattr": (FILE, CAN_WAIT, LOOKS),
    "fgetxattr": (FILE, CAN_WAIT, LOOKS),
    "setxattr": (DIRECTORY, CAN_WAIT, CHANGES),
    "fsetxattr": (DIRECTORY, CAN_WAIT, CHANGES),
    "removexattr": (DIRECTORY, CAN_WAIT, CHANGES),
    "fremovexattr": (DIRECTORY, CAN_WAIT, CHANGES),
    # An error of close leaves no descriptor behind in Linux; one that is injected would.
    "close": ("", CAN_WAIT, CHANGES),

    # the disk's own requests
    "io_setup": ("EAGAIN ENOMEM", CANNOT, LOOKS),
    "io_submit": ("EIO EAGAIN", CAN_WAIT, CHANGES),
    "io_getevents": ("EINTR", CANNOT, LOOKS),
    "io_destroy": ("", CANNOT, LOOKS),

    # sockets
    "socket": (MAKE + " EACCES", CANNOT, LOOKS),
    "socketpair": (MAKE, CANNOT, LOOKS),
    "bind": (DIRECTORY, CAN_WAIT, CHANGES),
    "listen": ("EIO", CANNOT, CHANGES),
    "connect": ("EAGAIN EINTR EACCES", CAN_WAIT, CHANGES),
    "accept4": ("EAGAIN EINTR EMFILE ENOMEM", CANNOT, CHANGES),
    "recvfrom": ("EAGAIN EINTR ENOMEM", CANNOT, LOOKS),
    "recvmsg": ("EAGAIN EINTR ENOMEM", CANNOT, LOOKS),
    "sendto": ("EAGAIN EINTR ENOMEM", CANNOT, CHANGES),
    "sendmsg": ("EAGAIN EINTR ENOMEM", CANNOT, CHANGES),

    # events
    "epoll_create1": (MAKE, CANNOT, LOOKS),
    "epoll_ctl": ("ENOMEM ENOSPC", CANNOT, LOOKS),
    "epoll_wait": ("EINTR", CANNOT, LOOKS),
    "epoll_pwait": ("EINTR", CANNOT, LOOKS),
    "eventfd2": (MAKE, CANNOT, LOOKS),
    "timerfd_create": (MAKE, CANNOT, LOOKS),
    "poll": ("EINTR ENOMEM", CANNOT, LOOKS),
    "ppoll": ("EINTR ENOMEM", CANNOT, LOOKS),
    "select": ("EINTR ENOMEM", CANNOT, LOOKS),
    "pselect6": ("EINTR ENOMEM", CANNOT, LOOKS),

    # processes
    "clone": ("EAGAIN ENOMEM", CANNOT, CHANGES),
    "clone3": ("EAGAIN ENOMEM", CANNOT, CHANGES),
    "fork": ("EAGAIN ENOMEM", CANNOT, CHANGES),
    "vfork": ("EAGAIN ENOMEM", CANNOT, CHANGES),
    "execve": (FILE, CANNOT, CHANGES),
    "wait4": ("EINTR", CANNOT, LOOKS),
    "setsid": ("", CANNOT, LOOKS),
    "mlockall": ("EAGAIN ENOMEM", CANNOT, LOOKS),
    "memfd_create": (MAKE, CANNOT, LOOKS),
    "mmap": ("EAGAIN ENOMEM", CANNOT, LOOKS),  # of a file; see worth()
    "pipe": ("EMFILE", CANNOT, LOOKS),
    "pipe2": ("EMFILE", CANNOT, LOOKS),
    "dup": ("EMFILE", CANNOT, LOOKS),
    # Where it leads is open already; then only its other argument can be wrong.
    "dup2": ("", CANNOT, LOOKS),
    "dup3": ("", CANNOT, LOOKS),
    "exit_group": ("", CANNOT, CHANGES),
}
