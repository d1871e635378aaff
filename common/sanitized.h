/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_SANITIZED_H
#define COMMON_SANITIZED_H
/* BV_SANITIZED: built with a sanitizer, which registers constructors and looks for leaks at exit. */

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BV_SANITIZED 1
#endif
#endif
#if !defined(BV_SANITIZED) && (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__))
#define BV_SANITIZED 1
#endif
#ifndef BV_SANITIZED
#define BV_SANITIZED 0
#endif

#endif
