// One run of a command: the work, and what the row says of it.
#pragma once
#include "catalog/runs.h"

#include <optional>

namespace pgbraid::job {

// The run that comes first, if there is one; it is ours from the commit on. In an open transaction.
std::optional<catalog::ClaimedRun> claim_run();

// Outside of a transaction. Where it ends well and `may_go_on`, the next run is taken with the same commit.
std::optional<catalog::ClaimedRun> execute(const catalog::ClaimedRun &run, bool may_go_on);

} // namespace pgbraid::job
