// Runs the SQL of a job in the open transaction.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <optional>
#include <string>

namespace pgbraid::job {

// What the SQL can refer to: $1, $2 and $3.
struct Parameters {
	std::optional<std::string> payload; // jsonb
	int attempt;
	TimestampTz due_at;
};

struct CommandResult {
	int64 rows;						   // that the last statement processed
	std::optional<std::string> output; // first value of the last result
};

// pg::Error for what goes wrong in it.
CommandResult run_statements(const std::string &sql, const Parameters &parameters);

} // namespace pgbraid::job
