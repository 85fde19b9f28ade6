// A condition on the rows of a table, given as SQL text.
#pragma once
#include "pg/prelude.h"

extern "C" {
#include "nodes/primnodes.h"
#include "utils/rel.h"
}

namespace pgbraid::flow {

// Parsed and resolved against the columns of a table, as relation 1, in the current memory context; takes no lock.
// ereports what is wrong with it: syntax, unknown columns, not boolean, a subquery, aggregate or the like, which can't
// be evaluated for a row alone; and functions of users, which would run with the rights of a worker. Names are resolved
// anew each time, and may mean something else once a column has another type: so whoever evaluates it asks here.
Node *resolve_condition(TupleDesc columns, const char *condition);

// Ready for evaluation.
Expr *parse_condition(Relation relation, const char *condition);

} // namespace pgbraid::flow
