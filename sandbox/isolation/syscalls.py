"""The system calls that a guest may make, with their numbers on each architecture we know.

One subject, hence long: a row per call, as the kernel's headers number it (asm/unistd_64.h for x86_64,
asm-generic/unistd.h for aarch64); `-` where the architecture has no such call. A test compares every number
with the headers. A call that is not here is denied.

Beyond what agents use there are three kinds of rows that look superfluous and are not: `time` and
`gettimeofday` are what the vDSO falls back to on machines with an unsteady clock, `restart_syscall` resumes
a sleep after the process was stopped, and `execve` is how bubblewrap starts Python.
"""

from __future__ import annotations

from typing import Final

_MACHINES: Final = ("x86_64", "aarch64")

_PLAIN: Final = """
# bytes in and out
read                      0    63
write                     1    64
readv                    19    65
writev                   20    66
pread64                  17    67
pwrite64                 18    68
sendfile                 40    71
lseek                     8    62
fsync                    74    82
fdatasync                75    83
fadvise64               221   223
flock                    73    32
dup                      32    23
dup2                     33     -
dup3                    292    24
pipe                     22     -
pipe2                   293    59
close                     3    57
close_range             436   436
# paths
open                      2     -
openat                  257    56
openat2                 437   437
creat                    85     -
access                   21     -
faccessat               269    48
faccessat2              439   439
stat                      4     -
fstat                     5    80
lstat                     6     -
newfstatat              262    79
statx                   332   291
statfs                  137    43
fstatfs                 138    44
readlink                 89     -
readlinkat              267    78
getdents                 78     -
getdents64              217    61
getcwd                   79    17
chdir                    80    49
fchdir                   81    50
truncate                 76    45
ftruncate                77    46
mkdir                    83     -
mkdirat                 258    34
rmdir                    84     -
unlink                   87     -
unlinkat                263    35
rename                   82     -
renameat                264    38
renameat2               316   276
link                     86     -
linkat                  265    37
symlink                  88     -
symlinkat               266    36
chmod                    90     -
fchmod                   91    52
fchmodat                268    53
chown                    92     -
fchown                   93    55
lchown                   94     -
fchownat                260    54
utime                   132     -
utimes                  235     -
utimensat               280    88
futimesat               261     -
umask                    95   166
# memory
mmap                      9   222
mprotect                 10   226
munmap                   11   215
mremap                   25   216
msync                    26   227
mincore                  27   232
madvise                  28   233
brk                      12   214
membarrier              324   283
# waiting
poll                      7     -
ppoll                   271    73
select                   23     -
pselect6                270    72
epoll_create            213     -
epoll_create1           291    20
epoll_ctl               233    21
epoll_wait              232     -
epoll_pwait             281    22
epoll_pwait2            441   441
eventfd2                290    19
timerfd_create          283    85
timerfd_settime         286    86
timerfd_gettime         287    87
# time
nanosleep                35   101
clock_nanosleep         230   115
clock_gettime           228   113
clock_getres            229   114
gettimeofday             96   169
time                    201     -
times                   100   153
alarm                    37     -
getitimer                36   102
setitimer                38   103
restart_syscall         219   128
# threads
futex                   202    98
gettid                  186   178
set_tid_address         218    96
rseq                    334   293
arch_prctl              158     -
sched_yield              24   124
sched_getaffinity       204   123
sched_getparam          143   121
sched_getscheduler      145   120
sched_get_priority_max  146   125
sched_get_priority_min  147   126
sched_rr_get_interval   148   127
# signals
rt_sigaction             13   134
rt_sigprocmask           14   135
rt_sigreturn             15   139
rt_sigpending           127   136
rt_sigtimedwait         128   137
rt_sigsuspend           130   133
rt_sigqueueinfo         129   138
rt_tgsigqueueinfo       297   240
sigaltstack             131   132
kill                     62   129
tgkill                  234   131
# itself
getpid                   39   172
getppid                 110   173
getpgid                 121   155
getpgrp                 111     -
getsid                  124   156
getuid                  102   174
geteuid                 107   175
getgid                  104   176
getegid                 108   177
getresuid               118   148
getresgid               120   150
getgroups               115   158
getpriority             140   141
getrlimit                97   163
getrusage                98   165
getrandom               318   278
sysinfo                  99   179
uname                    63   160
wait4                    61   260
waitid                  247    95
execve                   59   221
exit                     60    93
exit_group              231    94
# the socket it was given
sendto                   44   206
sendmsg                  46   211
recvfrom                 45   207
recvmsg                  47   212
shutdown                 48   210
getsockname              51   204
getpeername              52   205
getsockopt               55   209
setsockopt               54   208
"""
"""Allowed whatever the arguments are."""

_CONDITIONAL: Final = """
clone                    56   220
clone3                  435   435
socketpair               53   199
ioctl                    16    29
fcntl                    72    25
prctl                   157   167
prlimit64               302   261
"""
"""Allowed or not by their arguments; seccomp.py holds a condition for each."""


def _parse(table: str) -> dict[str, dict[str, int]]:
    rows = [line.split() for line in table.splitlines() if line and not line.startswith("#")]
    return {name: {m: int(n) for m, n in zip(_MACHINES, cells, strict=True) if n != "-"} for name, *cells in rows}


_TABLES: Final = {**_parse(_PLAIN), **_parse(_CONDITIONAL)}

PLAIN: Final = tuple(_parse(_PLAIN))
CONDITIONAL: Final = tuple(_parse(_CONDITIONAL))


def numbers(machine: str) -> dict[str, int]:
    """Return the number of every call in the table that this architecture has."""
    return {name: cells[machine] for name, cells in _TABLES.items() if machine in cells}
