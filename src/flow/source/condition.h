// A condition on the rows of a table, given as SQL text.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "nodes/primnodes.h"
#include "utils/rel.h"
}

namespace pgbraid::flow {

// Parsed and resolved against the table, in the current memory context. ereports what is wrong with it: syntax, unknown
// columns, not boolean, or a subquery, aggregate or the like, which can't be evaluated for a row alone.
Expr *parse_condition(Relation relation, const char *condition);

} // namespace pgbraid::flow
