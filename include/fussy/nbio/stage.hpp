/// @file nbio/stage.hpp  The stages that a pipe is made of, described; and the words for what a shape does not say.
/// Threads: a description may be shared by clones of a pipe; its callables are called by whoever runs them.
/// Errors:  std::logic_error when a stage that can be used once is used again.
#pragma once

#include <fussy/nbio/link.hpp>
#include <fussy/nbio/process.hpp>
#include <fussy/nbio/thread.hpp>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace fussy::nbio {
namespace detail {

/// A stage as described; shared between clones. `begin_use` gives what one run needs.
struct stage {
  explicit stage(std::string n) : name(std::move(n)) {}
  virtual ~stage() = default;
  stage(const stage&) = delete;
  stage& operator=(const stage&) = delete;

  /// @throws std::logic_error  it can be used once, and was.
  void claim() const {
    if (once && used.exchange(true))
      throw std::logic_error("nbio: a stage that can be used once (" + name + ") was used by an earlier run");
  }

  std::string name;
  bool is_source = false;  ///< stands first
  bool once = false;       ///< cannot be run again
  mutable std::atomic<bool> used{false};
};

struct process_stage final : stage {
  explicit process_stage(nbio::process p) : stage(p.spec().name()), what(std::move(p)) {}
  const nbio::process what;
};

/// Runs in our process, on the thread that drives the run.
struct link_stage : stage {
  using stage::stage;
  virtual std::unique_ptr<link> make() = 0;
  bool keeps_lines = true;  ///< whole lines in, whole lines out
};
template <class Make>
struct made_link final : link_stage {
  made_link(std::string n, Make m) : link_stage(std::move(n)), maker(std::move(m)) {}
  std::unique_ptr<link> make() override { return maker(); }
  Make maker;
};
struct lines_stage final : link_stage {
  explicit lines_stage(by_line h) : link_stage("by_line"), how(h) {}
  std::unique_ptr<link> make() override { return std::make_unique<line_link>(how); }
  const by_line how;
};

/// Runs in our process, on a thread of its own.
struct thread_stage : stage {
  using stage::stage;
  virtual thread_body make() = 0;
};
template <class Make>
struct made_thread final : thread_stage {
  made_thread(std::string n, Make m) : thread_stage(std::move(n)), maker(std::move(m)) {}
  thread_body make() override { return maker(); }
  Make maker;
};

/// A file or descriptor at the head or the tail.
struct end_stage final : stage {
  using stage::stage;
  enum class how { read, replace, truncate, append, descriptor };
  how mode = how::descriptor;
  std::filesystem::path path;
  int fd = -1;
  unique_fd owned;
};

template <class Make>
std::shared_ptr<stage> link_of(const char* name, Make make, bool is_source, bool once) {
  auto s = std::make_shared<made_link<Make>>(name, std::move(make));
  s->is_source = is_source;
  s->once = once;
  return s;
}
template <class Make>
std::shared_ptr<stage> thread_of(const char* name, Make make, bool is_source, bool once) {
  auto s = std::make_shared<made_thread<Make>>(name, std::move(make));
  s->is_source = is_source;
  s->once = once;
  return s;
}

/// Keeps what the user gave: a value is moved in, a name is referred to.
template <class T>
using kept = std::conditional_t<std::is_lvalue_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>,
                                std::shared_ptr<std::remove_cvref_t<T>>>;
template <class T>
kept<T> keep(T&& t) {
  if constexpr (std::is_lvalue_reference_v<T>)
    return std::ref(t);
  else
    return std::make_shared<std::remove_cvref_t<T>>(std::forward<T>(t));
}
template <class T>
T& at(const std::reference_wrapper<T>& t) {
  return t.get();
}
template <class T>
T& at(const std::shared_ptr<T>& t) {
  return *t;
}

/// A callable is copied or moved in, as the standard algorithms do; std::ref() refers to one.
template <class F>
std::shared_ptr<std::decay_t<F>> keep_callable(F&& f) {
  static_assert(std::constructible_from<std::decay_t<F>, F>,
                "nbio: this callable cannot be copied: move it in, or say std::ref()");
  return std::make_shared<std::decay_t<F>>(std::forward<F>(f));
}

inline std::shared_ptr<stage> source_of_text(std::string text) {
  auto held = std::make_shared<const std::string>(std::move(text));
  struct holding final : link {
    explicit holding(std::shared_ptr<const std::string> t) : text(std::move(t)), inner(*text) {}
    got pull(view& chunk) override { return inner.next(chunk); }
    std::shared_ptr<const std::string> text;
    text_link inner;
  };
  return link_of(
      "text", [held] { return std::make_unique<holding>(held); }, true, false);
}

template <class T>
std::shared_ptr<stage> source_of_chunk(T&& chunk) {
  if constexpr (std::same_as<std::remove_cvref_t<T>, std::string> && !std::is_lvalue_reference_v<T>)
    return source_of_text(std::move(chunk));
  else
    return source_of_text(std::string(view_of(chunk)));
}
template <class R>
std::shared_ptr<stage> source_of_range(R&& range) {
  using range_type = std::remove_reference_t<R>;
  auto held = keep(std::forward<R>(range));
  return link_of(
      "range", [held] { return std::make_unique<range_link<range_type>>(at(held)); }, true,
      !std::ranges::forward_range<range_type>);
}
template <class F>
std::shared_ptr<stage> source_of_calls(F&& f) {
  auto held = keep_callable(std::forward<F>(f));
  return link_of(
      "source", [held] { return std::make_unique<pull_link<std::decay_t<F>>>(*held); }, true, true);
}
/// A reader blocks, so it gets a thread; what a run inside of it waits for ends with this run.
template <class R>
std::shared_ptr<stage> source_of_reader(R&& r) {
  static_assert(!std::is_lvalue_reference_v<R>, "nbio: move the reader in, or say fussy::by_reference");
  auto held = std::make_shared<std::remove_cvref_t<R>>(std::forward<R>(r));
  return thread_of(
      "reader",
      [held]() mutable -> thread_body {
        return [from = std::exchange(held, nullptr)](stage_reader&, stage_writer& to) {
          auto buffer = std::make_unique_for_overwrite<std::byte[]>(large_block);
          while (const std::size_t n = from->read(byte_span(buffer.get(), large_block)))
            to.write(byte_view(buffer.get(), n));
        };
      },
      true, true);
}

template <class F>
std::shared_ptr<stage> stage_of_tap(F&& f) {
  auto held = keep_callable(std::forward<F>(f));
  return link_of(
      "callable", [held] { return std::make_unique<tap_link<std::decay_t<F>>>(*held); }, false, false);
}
template <class F>
std::shared_ptr<stage> stage_of_map(F&& f) {
  auto held = keep_callable(std::forward<F>(f));
  return link_of(
      "map", [held] { return std::make_unique<map_link<std::decay_t<F>>>(*held); }, false, false);
}
template <class C>
std::shared_ptr<stage> stage_of_container(C& c) {
  return link_of(
      "container", [&c] { return std::make_unique<container_link<C>>(c); }, false, false);
}
template <class W>
std::shared_ptr<stage> stage_of_writer(W&& w) {
  using type = std::remove_reference_t<W>;
  auto held = keep(std::forward<W>(w));
  return link_of(
      "writer", [held] { return std::make_unique<writer_link<type>>(at(held)); }, false,
      !std::is_lvalue_reference_v<W>);
}

/// A filter has state, so every run gets a copy; one that cannot be copied serves one run.
template <class F>
struct filter_holder final : link {
  explicit filter_holder(std::shared_ptr<F> f) : state(std::move(f)), inner(*state) {}
  got pull(view& chunk) override {
    inner.up = up, inner.stage = stage, inner.thrower = thrower;
    return inner.next(chunk);
  }
  std::shared_ptr<F> state;
  filter_link<F> inner;
};
template <class F>
std::shared_ptr<F> fresh_copy(const std::shared_ptr<F>& f) {
  if constexpr (std::copy_constructible<F>)
    return std::make_shared<F>(*f);
  else
    return f;
}
template <class F>
std::shared_ptr<stage> stage_of_filter(F&& f) {
  using type = std::decay_t<F>;
  auto held = keep_callable(std::forward<F>(f));
  auto s = link_of(
      "filter", [held] { return std::make_unique<filter_holder<type>>(fresh_copy(held)); }, false,
      !std::copy_constructible<type>);
  static_cast<link_stage&>(*s).keeps_lines = false;
  return s;
}

/// Drives a filter with blocking ends.
template <class F>
void run_filter(F& f, stage_reader& from, stage_writer& to) {
  struct source final : link {
    explicit source(stage_reader& r) : from(&r), buffer(std::make_unique_for_overwrite<char[]>(block_size)) {}
    got pull(view& chunk) override {
      const std::size_t n = from->read(std::span<char>(buffer.get(), block_size));
      chunk = view(buffer.get(), n);
      return n == 0 ? got::end : got::data;
    }
    stage_reader* from;
    std::unique_ptr<char[]> buffer;
  } head(from);
  filter_link<F> body(f);
  body.up = &head;
  for (view chunk; body.next(chunk) == got::data;) to.write(chunk);
}
template <class F>
std::shared_ptr<stage> thread_of_filter(F&& f) {
  using type = std::decay_t<F>;
  auto held = keep_callable(std::forward<F>(f));
  return thread_of(
      "filter on a thread",
      [held]() -> thread_body {
        return [mine = fresh_copy(held)](stage_reader& from, stage_writer& to) { run_filter(*mine, from, to); };
      },
      false, !std::copy_constructible<type>);
}
template <class F>
std::shared_ptr<stage> thread_of_worker(F&& f) {
  auto held = keep_callable(std::forward<F>(f));
  return thread_of(
      "worker",
      [held]() -> thread_body {
        return [held](stage_reader& from, stage_writer& to) { std::invoke(*held, from, to); };
      },
      false, false);
}

template <class T>
constexpr void refuse_several_shapes() {
  static_assert(!callable_both_ways<T>,
                "nbio: this can be called with a chunk and is a range or source as well: say tap(), map() or source()");
}

template <class T>
std::shared_ptr<stage> make_source(T&& t) {
  refuse_several_shapes<T>();
  static_assert(shapes_of_a_source<T> == 1,
                "nbio: this could be read in more than one way: say source() of what is meant");
  if constexpr (byte_chunk<T>)
    return source_of_chunk(std::forward<T>(t));
  else if constexpr (byte_range<T>)
    return source_of_range(std::forward<T>(t));
  else if constexpr (pull_fn<bare<T>>)
    return source_of_calls(std::forward<T>(t));
  else
    return source_of_reader(std::forward<T>(t));
}
template <class T>
std::shared_ptr<stage> make_follower(T&& t) {
  refuse_several_shapes<T>();
  static_assert(shapes_of_a_follower<T> == 1,
                "nbio: this has the shape of more than one kind of stage: say tap(), map() or on_thread()");
  if constexpr (filter<bare<T>>) {
    return stage_of_filter(std::forward<T>(t));
  } else if constexpr (worker<bare<T>>) {
    return thread_of_worker(std::forward<T>(t));
  } else if constexpr (tap_fn<bare<T>>) {
    return stage_of_tap(std::forward<T>(t));
  } else if constexpr (map_fn<bare<T>>) {
    return stage_of_map(std::forward<T>(t));
  } else if constexpr (container<T>) {
    static_assert(std::is_lvalue_reference_v<T>,
                  "nbio: this container would be gone when the pipe runs: give it a name");
    return stage_of_container(t);
  } else {
    return stage_of_writer(std::forward<T>(t));
  }
}

}  // namespace detail

/// A stage in the making: what the functions below return, to stand beside a `|`.
struct stage_of {
  std::shared_ptr<detail::stage> feeds;    ///< as it stands left of a process, or null
  std::shared_ptr<detail::stage> follows;  ///< as it stands right of one, or null
};

/// A source: text, octets, a range of those, a callable that gives one after the other, a reader. A temporary is moved
/// in; a named range is referred to and must live until the pipe has run; named text is copied.
template <class T>
requires(byte_chunk<T> || byte_range<T> || pull_fn<std::remove_cvref_t<T>> || reader<std::remove_cvref_t<T>>) stage_of
    source(T&& t) {
  if constexpr (byte_chunk<T>)
    return {detail::source_of_chunk(std::forward<T>(t)), nullptr};
  else if constexpr (byte_range<T>)
    return {detail::source_of_range(std::forward<T>(t)), nullptr};
  else if constexpr (pull_fn<std::remove_cvref_t<T>>)
    return {detail::source_of_calls(std::forward<T>(t)), nullptr};
  else
    return {detail::source_of_reader(std::forward<T>(t)), nullptr};
}
/// A callable that sees the chunks; what it returns is ignored.
template <class F>
requires std::invocable < std::decay_t<F>
&, view > stage_of tap(F&& f) { return {nullptr, detail::stage_of_tap(std::forward<F>(f))}; }
/// A callable whose results flow on.
template <class F>
requires map_fn<std::decay_t<F>> stage_of map(F&& f) { return {nullptr, detail::stage_of_map(std::forward<F>(f))}; }
/// At the end: nothing is collected; for when the callables before it have done all there is to do.
inline stage_of discard() {
  return {nullptr, detail::link_of(
                       "discard", [] { return std::make_unique<detail::discard_link>(); }, false, false)};
}
/// A filter or worker on a thread of its own: for what blocks or computes long. Its exceptions arrive in the run. A run
/// that is ended waits until the stage reads or writes next.
template <class F>
requires(filter<std::decay_t<F>> || worker<std::decay_t<F>>) stage_of on_thread(F&& f) {
  if constexpr (filter<std::decay_t<F>>)
    return {nullptr, detail::thread_of_filter(std::forward<F>(f))};
  else
    return {nullptr, detail::thread_of_worker(std::forward<F>(f))};
}
/// Text that is not copied: it must live, unchanged, until the pipe has run.
inline stage_of borrow(view text) {
  return {detail::link_of(
              "text", [text] { return std::make_unique<detail::text_link>(text); }, true, false),
          nullptr};
}
stage_of borrow(std::string&&) = delete;

/// The caller's descriptor, which stays open and whose flags are not changed; given to a neighbouring process as it is.
inline stage_of fd(int number) {
  auto s = std::make_shared<detail::end_stage>("descriptor " + std::to_string(number));
  s->fd = number;
  return {s, s};
}
/// The same, owned by the pipe, which can then run once.
inline stage_of fd(unique_fd owned) {
  auto s = std::make_shared<detail::end_stage>("descriptor");
  s->fd = owned.get();
  s->owned = std::move(owned);
  s->once = true;
  return {s, s};
}
/// Output into a file. `atomic`: the file is replaced, by a rename, when the whole pipe has succeeded; after a failure
/// it is as it was. Otherwise, and where it is no regular file (a device, a FIFO), it is truncated and written in
/// place.
inline stage_of to_file(std::filesystem::path path, bool atomic = true) {
  auto s = std::make_shared<detail::end_stage>(path.string());
  s->mode = atomic ? detail::end_stage::how::replace : detail::end_stage::how::truncate;
  s->path = std::move(path);
  return {nullptr, s};
}
/// Output behind what is in the file already.
inline stage_of append_to(std::filesystem::path path) {
  auto s = std::make_shared<detail::end_stage>(path.string());
  s->mode = detail::end_stage::how::append;
  s->path = std::move(path);
  return {nullptr, s};
}
/// Input from a file.
inline stage_of from_file(std::filesystem::path path) {
  auto s = std::make_shared<detail::end_stage>(path.string());
  s->mode = detail::end_stage::how::read;
  s->path = std::move(path);
  return {s, nullptr};
}

}  // namespace fussy::nbio
