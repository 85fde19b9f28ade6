#include "worker/commit.h"

#include "worker/registry.h"

extern "C" {
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension_d.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
}

namespace pgbraid::worker {

namespace {

bool catalog_changed = false;
object_access_hook_type next_hook = nullptr;
ProcessUtility_hook_type next_utility = nullptr;

void at_end_of_transaction(XactEvent event, void *)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE) {
		if (catalog_changed)
			touch(MyDatabaseId);
		// By now the commit record is on disk, unless synchronous_commit is off: then the flow looks again soon.
		if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
			wake_flows(MyDatabaseId);
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		catalog_changed = false;
}

// The transaction of COMMIT PREPARED is another one than the prepared one, which may have changed anything.
void at_utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	(next_utility ? next_utility : standard_ProcessUtility)(statement, query, read_only, context, parameters,
															environment, destination, completion);
	auto *transaction = reinterpret_cast<TransactionStmt *>(statement->utilityStmt);
	if (IsA(transaction, TransactionStmt) && transaction->kind == TRANS_STMT_COMMIT_PREPARED) {
		touch(MyDatabaseId);
		wake_flows(MyDatabaseId);
	}
}

void at_object_access(ObjectAccessType access, Oid class_id, Oid object, int column, void *argument)
{
	if (next_hook)
		next_hook(access, class_id, object, column, argument);
	if (access == OAT_DROP && class_id == ExtensionRelationId)
		catalog_changed = true;
}

} // namespace

void install_commit_hooks()
{
	RegisterXactCallback(at_end_of_transaction, nullptr);
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = at_utility;
	next_hook = object_access_hook;
	object_access_hook = at_object_access;
}

void note_catalog_change() noexcept
{
	catalog_changed = true;
}

} // namespace pgbraid::worker

PGBRAID_FUNCTION(pgbraid_catalog_changed)
{
	if (pgbraid::worker::is_preloaded())
		pgbraid::worker::note_catalog_change();
	return PointerGetDatum(nullptr);
}
