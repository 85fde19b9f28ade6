#include "branch/freeze.h"

#include "branch/process.h"
#include "pg/spi.h"

extern "C" {
#include "access/transam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"
}

#include <vector>

namespace pgbraid::branch {

namespace {

using namespace pg::spi;

constexpr long poll_ms = 5;
constexpr int longest_list = 10;

TimestampTz after(int milliseconds)
{
	return GetCurrentTimestamp() + (int64) milliseconds * 1000;
}

struct Writer {
	TransactionId transaction;
	int pid; // 0: prepared
};

// Whoever has written in the database and has not ended. Without allocation under the lock.
std::vector<Writer> read_writers(Oid database)
{
	std::vector<Writer> found;
	found.reserve(ProcGlobal->allProcCount + (size_t) max_prepared_xacts);
	LWLockAcquire(ProcArrayLock, LW_SHARED);
	for (uint32 i = 0; i < ProcGlobal->allProcCount + (uint32) max_prepared_xacts; i++) {
		const PGPROC &process = ProcGlobal->allProcs[i]; // those of prepared transactions come last
		if (&process != MyProc && process.databaseId == database && TransactionIdIsValid(process.xid))
			found.push_back({process.xid, process.pid});
	}
	LWLockRelease(ProcArrayLock);
	return found;
}

std::string list(const std::vector<int> &pids)
{
	std::string found;
	for (size_t i = 0; i < pids.size() && i < longest_list; i++)
		found += (i == 0 ? "" : ", ") + std::to_string(pids[i]);
	return pids.size() > longest_list ? found + ", ..." : found;
}

std::string holders_of(Oid table)
{
	std::string found;
	each("SELECT $1::regclass || ' is locked by ' || coalesce(string_agg(DISTINCT coalesce(l.pid::text, 'a prepared "
		 "transaction'), ', '), 'somebody who has gone by now') "
		 "  FROM pg_catalog.pg_locks l WHERE l.relation = $1 AND l.granted AND l.pid <> pg_catalog.pg_backend_pid() "
		 "   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) "
		 "   AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', "
		 "                  'AccessExclusiveLock', 'RowExclusiveLock')",
		 {oid(table)}, [&](const Row &row) { found = row.text(1); });
	return found;
}

// Autovacuum gives way to everybody else, too, unless it prevents wraparound.
void interrupt_autovacuum()
{
	each("SELECT pg_catalog.pg_cancel_backend(pid) FROM pg_catalog.pg_stat_activity "
		 " WHERE datname = pg_catalog.current_database() AND backend_type = 'autovacuum worker' "
		 "   AND query NOT LIKE '%(to prevent wraparound)'",
		 {}, [](const Row &) {});
}

} // namespace

bool Freeze::lock(bool (TableLocks::*step)(), TimestampTz deadline)
{
	for (bool is_first = true; !(locks_.*step)(); is_first = false) {
		if (is_first)
			interrupt_autovacuum();
		if (GetCurrentTimestamp() >= deadline) {
			obstacle = holders_of(locks_.blocked());
			return false;
		}
		nap(poll_ms);
	}
	return true;
}

bool Freeze::drain(TimestampTz deadline)
{
	if (!gate_->wait_until_drained(deadline)) {
		obstacle = "processes that write: " + list(gate_->writers());
		return false;
	}
	// Those that wrote in a way that no hook sees.
	for (const Writer &writer : read_writers(MyDatabaseId)) {
		while (pg::call([&] { return TransactionIdIsInProgress(writer.transaction); })) {
			if (writer.pid == 0 || GetCurrentTimestamp() >= deadline) {
				obstacle = writer.pid == 0 ? "a prepared transaction"
										   : "process " + std::to_string(writer.pid) + ", which has written";
				return false;
			}
			nap(poll_ms);
		}
	}
	return true;
}

bool Freeze::take(int gate_timeout_ms)
{
	show(Phase::locking);
	if (!lock(&TableLocks::take_tables, after(DeadlockTimeout / 2)))
		return false;
	show(Phase::draining);
	TimestampTz deadline = after(gate_timeout_ms);
	gate_.emplace(MyDatabaseId);
	wal_.emplace(MyDatabaseId);
	if (!drain(deadline))
		return false;
	gate_->seal();
	if (!gate_->wait_until_drained(deadline)) {
		obstacle = "processes that write: " + list(gate_->writers());
		return false;
	}
	// And tables that the last writers have made.
	if (!lock(&TableLocks::take_catalogs, deadline) || !lock(&TableLocks::take_tables, deadline))
		return false;
	std::vector<TransactionId> open;
	for (const Writer &writer : read_writers(MyDatabaseId))
		open.push_back(writer.transaction);
	wal_->begin(std::move(open));
	return true;
}

void Freeze::open_gate()
{
	gate_.reset();
	wal_.reset();
}

void check_freezable()
{
	std::string prepared;
	each("SELECT string_agg(quote_literal(gid), ', ' ORDER BY prepared) FROM pg_catalog.pg_prepared_xacts p "
		 "  JOIN pg_catalog.pg_database d ON d.datname = p.database WHERE d.oid = $1",
		 {oid(MyDatabaseId)}, [&](const Row &row) { prepared = row.text(1); });
	if (!prepared.empty())
		throw pg::Failure({.sqlstate = "55000",
						   .message = "the database has prepared transactions",
						   .detail = prepared,
						   .hint = "End them first: COMMIT PREPARED or ROLLBACK PREPARED."});
	check_lock_table();
}

} // namespace pgbraid::branch
