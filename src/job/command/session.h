// The session that a command finds: settings as if the role had just connected, and nothing left of the command before.
#pragma once
#include "catalog/runs.h"

namespace pgbraid::job {

// The commit of a run is not waited for, unless the server, the role or the job has a setting of its own: nobody is told
// of it but by what it writes, and a crash that forgets one forgets the other, so that the run is executed anew. What
// others commit after they have seen it makes it durable as well.
// For the open transaction, as the role itself where `settings` are the job's. A setting of the role that is wrong is
// a warning, as at login; one of the job is an error.
void apply_settings(const catalog::Work &work);

// Of the open transaction.
void set_synchronous_commit(const char *value);

// search_path and session_replication_role as what we do ourselves needs them, after a command has had its own.
void take_session_back();

// Between two commands, outside of a transaction: settings, prepared statements, cursors, LISTEN, advisory locks and
// temporary tables go.
void reset_session();

} // namespace pgbraid::job
