/* SPDX-License-Identifier: BSD-3-Clause */
/* compiler.h - what the compiler can be told, under blktap's names */
#ifndef COMPILER_H
#define COMPILER_H

#define likely(cond)   __builtin_expect(!!(cond), 1)
#define unlikely(cond) __builtin_expect(!!(cond), 0)

#endif
