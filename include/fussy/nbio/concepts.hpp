/// @file nbio/concepts.hpp  What may be a stage of a pipe: the shape of a type decides.
/// Threads: nothing happens here.
/// Errors:  at compile time only.
#pragma once

#include <fussy/io.hpp>
#include <fussy/nbio/line.hpp>
#include <fussy/nbio/process.hpp>
#include <fussy/nbio/thread.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace fussy::nbio {

class pipe;

/// Why filter::step returned.
enum class flow {
  need_input,   ///< it consumed what it was given
  need_output,  ///< it has more to give: call again with room
  done          ///< it is at its end, whatever input is left; what feeds it is not read any further
};
/// What one call of filter::step did, in octets.
struct progress {
  std::size_t consumed = 0, produced = 0;
  flow why = flow::need_input;
};

namespace detail {

template <class T>
concept octet = std::same_as < std::remove_cv_t<T>,
char > || std::same_as<std::remove_cv_t<T>, unsigned char> || std::same_as<std::remove_cv_t<T>, std::byte>;

template <class T>
concept octets_in_memory =
    std::ranges::contiguous_range<T> && std::ranges::sized_range<T> && !std::is_array_v<std::remove_cvref_t<T>> &&
    octet<std::remove_reference_t<std::ranges::range_reference_t<T>>>;

template <class T>
concept ours = std::convertible_to<std::remove_cvref_t<T>, pipe> || std::same_as<std::remove_cvref_t<T>, by_line>;

}  // namespace detail

/// A piece of a stream: text, or octets that lie in memory one after the other.
template <class T>
concept byte_chunk = std::convertible_to<T, view> || detail::octets_in_memory<T>;

namespace detail {
template <byte_chunk T>
view view_of(const T& chunk) {
  if constexpr (std::convertible_to<const T&, view>)
    return chunk;
  else
    return {reinterpret_cast<const char*>(std::ranges::data(chunk)), std::ranges::size(chunk)};
}
}  // namespace detail

/// A transformation without input and output of its own, like zlib's: it is given octets and room, never blocks, may
/// throw. `eof`: `in` is the rest of the stream. Called again with room until it needs input.
template <class F>
concept filter = requires(F& f, std::span<const char> in, std::span<char> out, bool eof) {
  { f.step(in, out, eof) } -> std::same_as<progress>;
};
/// A stage that reads and writes where it wants to; runs on a thread of its own.
template <class F>
concept worker = std::invocable<F&, stage_reader&, stage_writer&>;
/// Sees the chunks (behind by_line: the lines); they also flow on.
template <class F>
concept tap_fn = std::invocable<F&, view> && std::is_void_v<std::invoke_result_t<F&, view>>;
/// What it returns for a chunk (behind by_line: for a line) flows on instead.
template <class F>
concept map_fn = std::invocable<F&, view> && byte_chunk<std::invoke_result_t<F&, view>>;
/// A source: called for one chunk after the other until what it returns is empty in the sense of std::optional.
template <class F>
concept pull_fn = std::invocable<F&> && requires(F& f) {
  { *f() } -> byte_chunk;
  { !f() } -> std::convertible_to<bool>;
};
/// A source: its elements are the chunks.
template <class R>
concept byte_range = std::ranges::input_range<R> && byte_chunk<std::ranges::range_reference_t<R>> && !byte_chunk<R>;
namespace detail {
template <class V>
concept octet_vector = requires {
  typename V::value_type;
}
&&octet<typename V::value_type>&& std::same_as<V, std::vector<typename V::value_type>>;
template <class V>
concept owns_octets = !std::is_trivially_destructible_v<V> && (octet_vector<V> || std::constructible_from<V, view>);
template <owns_octets V>
V owning(view v) {
  if constexpr (octet_vector<V>) {
    const auto* data = reinterpret_cast<const typename V::value_type*>(v.data());
    return V(data, data + v.size());
  } else {
    return V(v);
  }
}
}  // namespace detail

/// Takes a copy of every chunk (behind by_line: of every line); they also flow on. Must own what it is given.
template <class C>
concept container =
    std::ranges::range<C> && !byte_chunk<C> && !std::is_const_v<std::remove_reference_t<C>> &&
    detail::owns_octets<std::ranges::range_value_t<C>> && requires(std::remove_reference_t<C> & c, view v) {
  c.push_back(detail::owning<std::ranges::range_value_t<C>>(v));
};

namespace detail {

template <class T>
using bare = std::remove_cvref_t<T>;

/// How many shapes a type has left and right of a `|`. One is a stage, more are refused.
template <class T>
constexpr int shapes_of_a_follower = !ours<T> * (filter<bare<T>> + worker<bare<T>> + tap_fn<bare<T>> + map_fn<bare<T>> +
                                                 container<T> + (writer<bare<T>> && !worker<bare<T>>));
template <class T>
constexpr int shapes_of_a_source =
    !ours<T> * (byte_chunk<T> + byte_range<T> + pull_fn<bare<T>> + (reader<bare<T>> && !worker<bare<T>>));

/// Callable with a chunk, and a range or source as well: nobody can know what is meant.
template <class T>
constexpr bool callable_both_ways = (tap_fn<bare<T>> || map_fn<bare<T>>)&&(byte_range<T> || pull_fn<bare<T>>);

}  // namespace detail

/// Never means anything beside a `|`: `P | 3`, `P | (s > "f")` (which is a bool), `P | nullptr`.
template <class T>
concept never_a_stage =
    std::is_arithmetic_v<std::remove_cvref_t<T>> || std::same_as<std::remove_cvref_t<T>, std::nullptr_t>;

/// What may stand left of a process without more words.
template <class T>
concept can_feed = !never_a_stage<T> && !detail::ours<T> && detail::shapes_of_a_source<T> > 0;
/// What may stand right of a process without more words.
template <class T>
concept can_follow = !never_a_stage<T> && !detail::ours<T> && !byte_chunk<T> && !reader_adaptor<T> &&
                     detail::shapes_of_a_follower<T> > 0;

}  // namespace fussy::nbio
