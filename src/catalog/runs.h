// pgbraid.job_runs, as who executes commands reads and writes it. In an open transaction.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
#include "utils/uuid.h"
}

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgbraid::catalog {

struct Setting {
	std::string name, value;
};

// What a job wants to be done.
struct Work {
	std::string job, command;
	Oid owner, run_as;
	int64 timeout;		  // microseconds; 0: none
	std::string database; // "": this one
	bool in_transaction;  // its effects and its completion commit together
	std::vector<Setting> settings;
};

// A run that is now ours.
struct ClaimedRun {
	int64 id;
	pg_uuid_t token;
	std::shared_ptr<const Work> work;
	std::optional<std::string> payload;
	int attempt;
	TimestampTz due_at;
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
