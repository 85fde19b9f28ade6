// Where PostgreSQL tells that a transaction is going to write, and that it has ended.
#include "branch/gate.h"

extern "C" {
#include "access/xact.h"
#include "executor/executor.h"
#include "tcop/utility.h"
}

namespace pgbraid::branch {

namespace {

ExecutorStart_hook_type next_start = nullptr;
ProcessUtility_hook_type next_utility = nullptr;

void at_start_of_query(QueryDesc *query, int flags)
{
	bool writes =
		query->operation != CMD_SELECT || query->plannedstmt->rowMarks != NIL || query->plannedstmt->hasModifyingCTE;
	if (writes && (flags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
		enter_gate();
	(next_start ? next_start : standard_ExecutorStart)(query, flags);
}

// What PostgreSQL logs as DDL or as a change of data. What else a statement does, it does by queries of its own, or
// under locks on tables.
void at_utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	if (GetCommandLogLevel(statement->utilityStmt) != LOGSTMT_ALL)
		enter_gate();
	(next_utility ? next_utility : standard_ProcessUtility)(statement, query, read_only, context, parameters,
															environment, destination, completion);
}

void at_end_of_transaction(XactEvent event, void *)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		leave_gate();
}

} // namespace

void watch_writing()
{
	next_start = ExecutorStart_hook;
	ExecutorStart_hook = at_start_of_query;
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = at_utility;
	RegisterXactCallback(at_end_of_transaction, nullptr);
}

} // namespace pgbraid::branch
