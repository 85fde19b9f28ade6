#include "worker/commit.h"

#include "worker/registry.h"

extern "C" {
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension_d.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "tcop/utility.h"
#include "utils/memutils.h"
}

namespace pgbraid::worker {

namespace {

// What the running transaction leads to when it commits.
constexpr int most_databases = 8;
struct Notes {
	Oid databases[most_databases];
	int database_count;
	bool catalog_changed, job_changed, claimable_run, scheduled_run, offerable_run, withdrawn_run;
	int ready_commands;
	List *interrupts; // in TopTransactionContext
};
struct Interrupt {
	int64 run;
	SubTransactionId noted_in; // if that is undone, nobody is interrupted
};
Notes notes;
bool tells_of_timed_runs = true;
object_access_hook_type next_hook = nullptr;
ProcessUtility_hook_type next_utility = nullptr;

void tell_of_runs()
{
	if (notes.ready_commands > 0)
		wake_executors(MyDatabaseId, notes.ready_commands);
	if (notes.claimable_run)
		wake_claimers();
	if (notes.scheduled_run)
		nudge_scheduler(MyDatabaseId);
	if (notes.withdrawn_run || notes.job_changed)
		touch_dispatcher(MyDatabaseId);
	if (notes.offerable_run)
		nudge_dispatcher(MyDatabaseId);
}

void tell_of_moved_databases()
{
	for (int i = 0; i < notes.database_count; i++)
		touch_moved(notes.databases[i]);
}

void interrupt_executors()
{
	ListCell *cell;
	foreach (cell, notes.interrupts)
		(void) interrupt_executor(MyDatabaseId, static_cast<Interrupt *>(lfirst(cell))->run);
}

void at_end_of_transaction(XactEvent event, void *)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE) {
		bool has_scheduler = (notes.catalog_changed || notes.job_changed) && touch_scheduler(MyDatabaseId);
		if (notes.catalog_changed || (notes.job_changed && !has_scheduler))
			touch(MyDatabaseId);
		tell_of_moved_databases();
		tell_of_runs();
		if (event == XACT_EVENT_COMMIT)
			interrupt_executors();
		// By now the commit record is on disk, unless synchronous_commit is off: then the flow looks again soon.
		if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
			wake_flows(MyDatabaseId);
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		notes = {};
}

// Who is woken for nothing goes to sleep again; who is interrupted loses what it has done.
void at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId, void *)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	ListCell *cell;
	foreach (cell, notes.interrupts)
		if (static_cast<Interrupt *>(lfirst(cell))->noted_in >= mine) // those of its children have greater numbers
			notes.interrupts = foreach_delete_current(notes.interrupts, cell);
}

// The transaction of COMMIT PREPARED is another one than the prepared one, which may have changed anything.
void at_utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
				ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
				QueryCompletion *completion)
{
	// Looked at before: a statement that commits, VACUUM say, may free what it is part of.
	auto *transaction = reinterpret_cast<TransactionStmt *>(statement->utilityStmt);
	bool commits_prepared = IsA(transaction, TransactionStmt) && transaction->kind == TRANS_STMT_COMMIT_PREPARED;
	(next_utility ? next_utility : standard_ProcessUtility)(statement, query, read_only, context, parameters,
															environment, destination, completion);
	if (commits_prepared) {
		touch(MyDatabaseId);
		(void) touch_scheduler(MyDatabaseId);
		nudge_scheduler(MyDatabaseId);
		touch_dispatcher(MyDatabaseId);
		nudge_dispatcher(MyDatabaseId);
		wake_executors(MyDatabaseId, 1);
		wake_claimers();
		wake_flows(MyDatabaseId);
	}
}

void at_object_access(ObjectAccessType access, Oid class_id, Oid object, int column, void *argument)
{
	if (next_hook)
		next_hook(access, class_id, object, column, argument);
	if (access == OAT_DROP && class_id == ExtensionRelationId)
		notes.catalog_changed = true;
}

} // namespace

void install_commit_hooks()
{
	RegisterXactCallback(at_end_of_transaction, nullptr);
	RegisterSubXactCallback(at_end_of_subtransaction, nullptr);
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = at_utility;
	next_hook = object_access_hook;
	object_access_hook = at_object_access;
}

void note_catalog_change() noexcept
{
	notes.catalog_changed = true;
}

void note_moved_database(Oid database) noexcept
{
	for (int i = 0; i < notes.database_count; i++)
		if (notes.databases[i] == database)
			return;
	if (notes.database_count < most_databases)
		notes.databases[notes.database_count++] = database;
}

void note_job_change() noexcept
{
	notes.job_changed = true;
}

void note_ready_command() noexcept
{
	notes.ready_commands++;
}

void note_claimable_run() noexcept
{
	notes.claimable_run = true;
}

void note_scheduled_run() noexcept
{
	notes.scheduled_run = true;
}

void note_timed_run() noexcept
{
	notes.scheduled_run = notes.scheduled_run || tells_of_timed_runs;
}

void leave_timed_runs_untold() noexcept
{
	tells_of_timed_runs = false;
}

void note_offerable_run() noexcept
{
	notes.offerable_run = true;
}

void note_withdrawn_run() noexcept
{
	notes.withdrawn_run = true;
}

void note_interrupt(int64 run)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	auto *interrupt = static_cast<Interrupt *>(palloc(sizeof(Interrupt)));
	*interrupt = {run, GetCurrentSubTransactionId()};
	notes.interrupts = lappend(notes.interrupts, interrupt);
	MemoryContextSwitchTo(caller);
}

} // namespace pgbraid::worker

PGBRAID_FUNCTION(pgbraid_catalog_changed)
{
	if (pgbraid::worker::is_preloaded())
		pgbraid::worker::note_catalog_change();
	return PointerGetDatum(nullptr);
}
