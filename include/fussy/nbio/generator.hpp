/// @file nbio/generator.hpp  A coroutine that yields one value after the other, for compilers without std::generator.
/// Threads: one generator belongs to one thread at a time.
/// Errors:  what the coroutine throws arrives at whoever asks for the next value.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <iterator>
#include <memory>
#include <utility>

namespace fussy::nbio {

/// The result of a coroutine, as a range that can be gone through once. Left of a `|` it is a source:
///
///     generator<std::string> numbers(int n) {
///       for (int i = 0; i < n; ++i) co_yield std::to_string(i);
///     }
///     (numbers(20) | P("cat"))();
///
/// It runs when the next value is asked for, on the thread that asks: so a source computes nothing ahead of demand, and
/// must not wait long. What it yields is valid until then. Destroying it destroys the coroutine where it stands.
template <class T>
class [[nodiscard]] generator {
public:
  struct promise_type {
    const T* value = nullptr;
    std::exception_ptr problem;

    generator get_return_object() { return generator(handle::from_promise(*this)); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_always final_suspend() const noexcept { return {}; }
    std::suspend_always yield_value(const T& v) noexcept {  // a temporary lives until the coroutine goes on
      value = std::addressof(v);
      return {};
    }
    void return_void() const noexcept {}
    void unhandled_exception() noexcept { problem = std::current_exception(); }
    void await_transform() = delete;  // it yields, and waits for nothing
  };

  class iterator {
  public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    iterator() = default;
    const T& operator*() const noexcept { return *at_.promise().value; }
    iterator& operator++() {
      proceed(at_);
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return !at_ || at_.done(); }

  private:
    friend class generator;
    explicit iterator(std::coroutine_handle<promise_type> at) noexcept : at_(at) {}
    std::coroutine_handle<promise_type> at_;
  };

  generator(generator&& other) noexcept : coroutine_(std::exchange(other.coroutine_, {})) {}
  generator& operator=(generator&& other) noexcept {
    std::swap(coroutine_, other.coroutine_);
    return *this;
  }
  ~generator() {
    if (coroutine_) coroutine_.destroy();
  }

  iterator begin() {
    proceed(coroutine_);
    return iterator(coroutine_);
  }
  std::default_sentinel_t end() const noexcept { return {}; }

private:
  using handle = std::coroutine_handle<promise_type>;
  explicit generator(handle h) noexcept : coroutine_(h) {}
  static void proceed(handle h) {
    if (!h || h.done()) return;
    h.resume();
    if (h.promise().problem) std::rethrow_exception(std::exchange(h.promise().problem, nullptr));
  }
  handle coroutine_;
};

}  // namespace fussy::nbio
