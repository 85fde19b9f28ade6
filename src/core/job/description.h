// A schedule in English: "at 02:30 on Monday to Friday".
#pragma once
#include "core/job/calendar.h"
#include "core/job/expression.h"

#include <string>

namespace pgbraid::core::job {

// In lower case, without a full stop.
std::string describe(const Expression &expression, DayRule rule = DayRule::either);

} // namespace pgbraid::core::job
