// The session that a command finds: settings as if the role had just connected, and nothing left of the command before.
#pragma once
#include "catalog/runs.h"

namespace pgbraid::job {

// For the open transaction, as the role itself where `settings` are the job's. A setting of the role that is wrong is
// a warning, as at login; one of the job is an error.
void apply_settings(const catalog::ClaimedRun &run);

// search_path as everything of ours needs it, after a command has had its own.
void take_search_path_back();

// Between two commands, outside of a transaction: settings, prepared statements, cursors, LISTEN, advisory locks and
// temporary tables go.
void reset_session();

} // namespace pgbraid::job
