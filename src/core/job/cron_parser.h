// Cron expressions; parse_expression() has the other ones.
#pragma once
#include "core/job/expression.h"
#include "core/job/words.h"

namespace pgbraid::core::job {

Result<Expression> parse_cron(const std::vector<Word> &words);

} // namespace pgbraid::core::job
