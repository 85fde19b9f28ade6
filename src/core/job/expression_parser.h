// From the text of a schedule to an Expression.
#pragma once
#include "core/base/result.h"
#include "core/job/expression.h"

#include <string_view>

namespace pgbraid::core::job {

// A cron expression; a macro, "@daily"; an interval, "@every 1h30m" or "90 seconds"; or a moment,
// "@at 2026-12-01 10:00:00+01". Case does not matter, nor does white space around.
//
// Else 22023, with the field and the column of the fault in the detail. What can never happen, "0 0 30 2 *", is an
// expression all the same.
Result<Expression> parse_expression(std::string_view text);

// Of text that comes again in a message.
constexpr std::size_t longest_expression = 1000;

} // namespace pgbraid::core::job
