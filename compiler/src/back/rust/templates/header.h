/* __MADE_BY__ */
#ifndef __MACROS___H
#define __MACROS___H

#include <stddef.h>
__STDINT__
/**
 * __NETWORK__ for __TARGETS__, made by kiln. Build the library with
 *
 *     cargo rustc --lib --release --features capi --crate-type staticlib
 *
 * or `cdylib`; and where there is no system, or none is wanted, with
 *
 *     cargo rustc --lib --release --no-default-features --features embed,panic-handler --crate-type staticlib \
 *         -- -C panic=abort
 *
 * which has of the functions below those whose names begin with `__NAME___lent`. Shapes are static: the lengths below are
 * those of this network and no others.
 *
 * A function that can fail returns an `enum __NAME___status`.
 */

#ifdef __cplusplus
extern "C" {
#endif

__CONSTANTS__/** The bytes of the weights file, `weights.bin`. */
#define __MACROS___WEIGHTS_BYTES __WEIGHTS_BYTES__

/** The bytes of memory to lend for a session, on whichever target. */
#define __MACROS___LENT_BYTES __LENT_BYTES__

/** What a call returns. */
enum __NAME___status {
__STATUSES__
};

/*
 * Models and sessions, with threads and memory of the system.
 *
 * For all but __MACROS___OK, __NAME___last_error() says why. A defect of the library that it detects itself, a panic, ends
 * the process; no input is known to cause one. What this library gives, it frees: with __NAME___session_free() and
 * __NAME___free(), in any order.
 */

/** A network with its weights. Any number of threads and sessions may share it. */
typedef struct __NAME___model __NAME___model_t;

/** Memory and threads of one caller: two threads must not use one at the same time. It outlives its model. */
typedef struct __NAME___session __NAME___session_t;

/**
 * Loads the network with the weights in the library. It is there if the library was built with the feature
 * `embed`, as it is by default.
 *
 * `target` is __TARGET_NAMES__, or null for the best of them that this processor has. On failure
 * `*model` is null.
 */
int __NAME___load(const char *target, __NAME___model_t **model);

/**
 * The same with the weights file in memory, `bytes` long, which is copied and checked. Any other file, also a
 * cut or a changed one, is __MACROS___WEIGHTS.
 */
int __NAME___load_from(const void *weights, size_t bytes, const char *target, __NAME___model_t **model);

/** The name of the target that a model runs on; it is constant. Null for null. */
const char *__NAME___target(const __NAME___model_t *model);

/**
 * Starts a session with so many threads, the caller's among them, but no more than there are processors for the
 * process. None, and more than __MOST_THREADS__, are __MACROS___THREADS. On failure `*session` is null. The results of a
 * run are the same bits for any number of threads.
 */
int __NAME___session(const __NAME___model_t *model, size_t threads, __NAME___session_t **session);

/**
 * Runs once: __LENGTHS__. What is written must not overlap
 * anything else. A call that fails writes nothing. It allocates nothing.
 */
int __NAME___run(__NAME___session_t *session__INPUTS____OUTPUTS__);

/** Ends a session and its threads. Null is nothing. */
void __NAME___session_free(__NAME___session_t *session);

/** Frees a model; sessions that still run it keep what they need. Null is nothing. */
void __NAME___free(__NAME___model_t *model);

/**
 * Why the last call of this thread that failed did so, empty if none did. The text is valid until the next
 * call on this thread.
 */
const char *__NAME___last_error(void);

/*
 * Sessions on memory that the caller lends: one thread, no allocator and no system. A library that is built without one
 * asks of the program only for what compilers call by themselves, such as memcpy(), and for abort(), where a panic ends.
 */

/** A network on lent memory: two threads must not use one at the same time. Nothing has to be freed. */
typedef struct __NAME___lent __NAME___lent_t;

/**
 * Makes a session in `memory`, at any address, `bytes` long: __MACROS___LENT_BYTES are enough, and fewer than its target
 * needs are __MACROS___MEMORY. The memory is the session's for as long as it is used; what it holds before does not
 * matter. The weights are those in the library, if it was built with the feature `embed`.
 *
 * `target` is __TARGET_NAMES__, on the caller's word that the processor has it, or null for the best of
 * them that the library as a whole is compiled for. On failure `*session` is null.
 */
int __NAME___lent(void *memory, size_t bytes, const char *target, __NAME___lent_t **session);

/**
 * The same with the weights file in memory, which is used in place: it starts at a multiple of 4 bytes, of 64 where it is
 * to be fast, and is as long in use as the session.
 */
int __NAME___lent_from(void *memory, size_t bytes, const void *weights, size_t weights_bytes, const char *target,
    __NAME___lent_t **session);

/** Runs once, as __NAME___run() does, with the same bits. */
int __NAME___lent_run(__NAME___lent_t *session__INPUTS____OUTPUTS__);

#ifdef __cplusplus
}
#endif

#endif
