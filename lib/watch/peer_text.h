// watch/peer_text.h - small texts that are made in place.
//
// Threads  any.   Signals  unsafe: asks the kernel.   Allocates  never.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "collect/socket_state.h"
#include "core/core.h"
#include "watch/text_sink.h"

namespace heldby::watch {

/// Who is at the other end; empty: not known.
class PeerText {
 public:
  explicit PeerText(const core::ConnectionView& view);
  std::string_view view() const { return {text_, size_}; }

 private:
  char text_[collect::kAddressTextBytes];
  std::size_t size_ = 0;
};

/// "2026-11-23T13:49:52Z", or without what file names are better without.
void UtcTime(std::int64_t seconds, bool for_file_names, TextSink* sink);

}  // namespace heldby::watch
