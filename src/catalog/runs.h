// pgbraid.job_runs, as who executes commands reads and writes it. In an open transaction.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
#include "utils/uuid.h"
}

#include <optional>
#include <string>
#include <vector>

namespace pgbraid::catalog {

struct Setting {
	std::string name, value;
};

// A run that is now ours, with what there is to know of its job.
struct ClaimedRun {
	int64 id, job_id;
	pg_uuid_t token;
	std::string job, command;
	Oid run_as;
	bool role_exists, is_permitted; // the job's owner may act as that role
	std::optional<std::string> payload;
	int attempt;
	TimestampTz due_at;
	int64 timeout;		  // microseconds; 0: none
	std::string database; // "": this one
	bool in_transaction;  // its effects and its completion commit together
	std::vector<Setting> role_settings,
		settings; // of ALTER ROLE and ALTER DATABASE, the more specific later; of the job
};

// The run that comes first of those that are ready for an executor. Its token is new.
std::optional<ClaimedRun> claim_command(const char *worker);

struct RunEnd {
	TimestampTz started_at;
	std::optional<int64> rows;
	std::optional<std::string> output;
	std::string sqlstate, error; // "" if it succeeded
	std::string log;
};
// False if the run is no longer the one with that token, or is to be cancelled: then what was done for it must be
// undone.
bool complete_run(const ClaimedRun &run, const RunEnd &end);
// The same for one that failed; cancelled, if somebody asked for that.
bool fail_run(const ClaimedRun &run, const RunEnd &end);
// It was not begun, for that reason: waits for a second.
void put_off(const ClaimedRun &run, const char *reason);

} // namespace pgbraid::catalog
