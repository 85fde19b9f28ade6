// The limit on the WAL that a flow's slot retains, and what happens beyond it: option wal_limit, wal_policy.
#pragma once
#include "catalog/flows.h"
#include "worker/registry.h"

namespace pgbraid::worker {

// What must happen to a flow now.
enum class Verdict { none, pause, drop };

// Looks how much WAL the slot of a flow retains. Says so, once, in the log and in the entry when it is too much.
Verdict judge_retention(const catalog::Flow &flow, Entry &entry);

} // namespace pgbraid::worker
