// Runs the SQL of a job in the open transaction.
#pragma once
#include "job/command/parameters.h"

#include <optional>
#include <string>

namespace pgbraid::job {

struct CommandResult {
	int64 rows;						   // that the last statement processed
	std::optional<std::string> output; // first value of the last result
};

// pg::Error for what goes wrong in it.
CommandResult run_statements(const std::string &sql, const Parameters &parameters);

} // namespace pgbraid::job
