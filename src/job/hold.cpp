#include "job/hold.h"

#include "pg/boundary.h"
#include "pg/compat.h"
#include "worker/registry.h"

extern "C" {
#include "access/xact.h"
#include "catalog/namespace.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
}

#include <algorithm>
#include <string>
#include <vector>

namespace pgbraid::job {

namespace {

LOCKTAG tag_of(Oid class_id, int64 run)
{
	LOCKTAG tag;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, class_id, (uint32) (run & PG_INT32_MAX), 2);
	return tag;
}

bool acquire(Oid class_id, int64 run)
{
	LOCKTAG tag = tag_of(class_id, run);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

// What this backend holds for who calls pgjob_claim in it. A lock of a session outlives the transaction that took it,
// also one that is undone, so the end of the transaction is waited for here.
struct Held {
	int64 run;
	Oid class_id;
	SubTransactionId taken_by;	  // that took it; invalid once it has committed
	SubTransactionId released_by; // when it commits; invalid: it is not released
};
struct Claims {
	std::vector<Held> held;
	std::string worker; // who was here last
	bool is_shared = false;
	uint64 generation = 0; // of claimable runs, when this backend last looked at them
};

Claims *claims = nullptr;

template <typename Condition>
void drop_if(Condition &&condition)
{
	std::erase_if(claims->held, [&](const Held &each) {
		if (!condition(each))
			return false;
		LOCKTAG tag = tag_of(each.class_id, each.run);
		(void) LockRelease(&tag, ExclusiveLock, true);
		return true;
	});
}

void at_end_of_transaction(XactEvent event, void *)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		drop_if([](const Held &each) { return each.released_by != InvalidSubTransactionId; });
	else if (event == XACT_EVENT_ABORT)
		drop_if([](const Held &each) { return each.taken_by != InvalidSubTransactionId; });
	else
		return;
	for (Held &each : claims->held) {
		each.taken_by = each.released_by = InvalidSubTransactionId;
	}
}

void at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId, void *)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	drop_if([mine](const Held &each) { return each.taken_by >= mine; }); // those of its children have greater numbers
	for (Held &each : claims->held)
		if (each.released_by >= mine)
			each.released_by = InvalidSubTransactionId;
}

// By now the locks are free. The scheduler looks for runs without a worker only when it has a reason to.
void tell_of_exit(int, Datum)
{
	if (!claims->held.empty())
		worker::nudge_scheduler(MyDatabaseId);
}

Claims &my_claims()
{
	if (claims == nullptr) {
		claims = new Claims;
		pg::call([] {
			RegisterXactCallback(at_end_of_transaction, nullptr);
			RegisterSubXactCallback(at_end_of_subtransaction, nullptr);
			on_shmem_exit(tell_of_exit, 0);
		});
	}
	return *claims;
}

// Behind a pool, the sessions of several workers share this backend, and it outlives each of them.
bool is_shared_with(const std::string &worker)
{
	Claims &mine = my_claims();
	mine.is_shared = mine.is_shared || (!mine.worker.empty() && mine.worker != worker);
	mine.worker = worker;
	return mine.is_shared;
}

std::string hold(int64 run, const std::string &worker)
{
	Claims &mine = my_claims();
	Oid class_id = run_class();
	if (is_shared_with(worker) || !pg::call([&] { return acquire(class_id, run); }))
		return "lease";
	mine.held.push_back({run, class_id, GetCurrentSubTransactionId(), InvalidSubTransactionId});
	return "lock";
}

} // namespace

Oid run_class()
{
	return pg::call([] { return get_relname_relid("job_runs", get_namespace_oid("pgbraid", true)); });
}

} // namespace pgbraid::job

PGBRAID_FUNCTION(pgbraid_hold_run)
{
	using namespace pgbraid;
	worker::require_preload();
	std::string worker = pg::call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(1)); });
	std::string kind = job::hold(PG_GETARG_INT64(0), worker);
	return pg::call([&] { return CStringGetTextDatum(kind.c_str()); });
}

PGBRAID_FUNCTION(pgbraid_release_run)
{
	for (auto &each : pgbraid::job::my_claims().held)
		if (each.run == PG_GETARG_INT64(0) && each.released_by == InvalidSubTransactionId)
			each.released_by = GetCurrentSubTransactionId();
	PG_RETURN_VOID();
}

PGBRAID_FUNCTION(pgbraid_held_runs)
{
	using namespace pgbraid;
	worker::require_preload();
	job::Claims &mine = job::my_claims();
	mine.generation = worker::claimable_generation();
	pg::call([&] {
		InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
		auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
		for (const job::Held &each : mine.held) {
			Datum value = Int64GetDatum(each.run);
			bool is_null = false;
			tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
		}
	});
	return (Datum) 0;
}

PGBRAID_FUNCTION(pgbraid_await_ready)
{
	using namespace pgbraid;
	worker::require_preload();
	job::Claims &mine = job::my_claims();
	pg::call([&] {
		const Interval *patience = PG_GETARG_INTERVAL_P(0);
		TimestampTz deadline = GetCurrentTimestamp() + patience->time + (int64) patience->day * USECS_PER_DAY;
		uint32 event = pg::wait_event("PgbraidClaim");
		ConditionVariablePrepareToSleep(&worker::claimable());
		while (worker::claimable_generation() == mine.generation) {
			long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
			if (left <= 0 || ConditionVariableTimedSleep(&worker::claimable(), left, event))
				break;
		}
		ConditionVariableCancelSleep();
	});
	mine.generation = worker::claimable_generation();
	PG_RETURN_VOID();
}
