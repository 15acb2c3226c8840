/// @file nbio.hpp  Pipes of processes and native stages that read like a shell and cannot deadlock.
///
///     using fussy::nbio::P;
///     P("echo hello | tr a-z A-Z")();                                  // "HELLO\n"
///     (lines_of_text | P({"sort", "-u"}) | P({"wc", "-l"}))();        // a range in, three stages, text out
///     for (auto line : (P("journalctl -f") | P("grep fw")).lines()) use(line);
///
/// Threads: distinct objects are independent. No signal handler, no signal mask, no disposition of the host is changed.
/// Errors:  fussy::nbio::pipe_error (a fussy::error) with partial output and a report per stage.
/// Links nothing of ours.
#pragma once

#include <fussy/nbio/pipe.hpp>
