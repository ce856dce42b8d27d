/* SANITIZED: this is built with AddressSanitizer, which takes memory of its own, has an allocator
 * of its own, and makes processes slow to start and to end. */
#ifndef LORAC_TESTS_SANITIZED_H
#define LORAC_TESTS_SANITIZED_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#endif
