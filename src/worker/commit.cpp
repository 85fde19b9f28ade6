#include "worker/commit.h"

#include "worker/registry.h"

extern "C" {
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension_d.h"
#include "miscadmin.h"
}

namespace pgbraid::worker {

namespace {

bool catalog_changed = false;
object_access_hook_type next_hook = nullptr;

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

void at_object_access(ObjectAccessType access, Oid class_id, Oid object, int column, void *argument)
{
	if (next_hook)
		next_hook(access, class_id, object, column, argument);
	if (access == OAT_DROP && class_id == ExtensionRelationId)
		catalog_changed = true;
}

}	// namespace

void install_commit_hooks()
{
	RegisterXactCallback(at_end_of_transaction, nullptr);
	next_hook = object_access_hook;
	object_access_hook = at_object_access;
}

void note_catalog_change() noexcept
{
	catalog_changed = true;
}

}	// namespace pgbraid::worker

PGBRAID_FUNCTION(pgbraid_catalog_changed)
{
	if (pgbraid::worker::is_preloaded())
		pgbraid::worker::note_catalog_change();
	return PointerGetDatum(nullptr);
}
