// Whether this program carries a sanitizer: its memory, its allocator and its time are then not the library's.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool instrumented = true;  // GCC
#elif defined(__has_feature)
inline constexpr bool instrumented = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);  // Clang
#else
inline constexpr bool instrumented = false;
#endif
