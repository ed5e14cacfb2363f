// exporters/preload/process_tree.h - our place among processes: who is above, how to be found.
//
// Threads  any.   Signals  unsafe.   Units  none.
#pragma once

#include <string>
#include <string_view>

namespace heldby::preload {

/// HELDBY_LOG=info: say what goes well, too.
bool InfoWanted();

/// One line on stderr, "heldby: " before it.
void SayLine(std::string_view text);

/// True if a parent, grandparent ... has libheldby.so loaded: then an address that is taken is
/// taken by the tree we belong to, and nobody needs to be told.
bool AncestorCarriesHeldby();

/// True if some process of this user has announced that it serves where `listen` points to: a
/// child may have been faster than its parent. Looks three times, 30 ms apart, since who binds
/// announces a moment later.
bool ServedByHeldby(std::string_view listen);

/// Makes this process findable by `heldby ls`: a memfd whose name is the address, visible to
/// the user in /proc/PID/fd, gone with the process, and in no file system.
void Announce(const std::string& address);

}  // namespace heldby::preload
