#include "branch/copy.h"

#include "branch/freeze.h"
#include "branch/process.h"
#include "branch/storage.h"
#include "catalog/branches.h"
#include "catalog/databases.h"
#include "worker/pause.h"

extern "C" {
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"
}

#include <algorithm>

namespace pgbraid::branch {

namespace {

using catalog::Kind;

constexpr uint64 bytes_between_checks = 8 * 1024 * 1024;
constexpr int first_pause_ms = 50, longest_pause_ms = 2000;

void copy_files(Oid copy, Freeze &freeze)
{
	show(Phase::copying);
	std::vector<Stored> relations = read_relations();
	int64 total = 0;
	for (const Stored &relation : relations)
		total += size_of(relation);
	pg_atomic_write_u64(&current().bytes_done, 0);
	pg_atomic_write_u64(&current().bytes_total, (uint64) total);
	make_database_directory(MyDatabaseId, copy, MyDatabaseTableSpace);
	reach("copying");
	for (size_t i = 0; i < relations.size(); i++) {
		if (i == relations.size() / 2)
			reach("half");
		copy_relation(relations[i], copy, [&](int64 bytes) {
			uint64 before = pg_atomic_fetch_add_u64(&current().bytes_done, bytes);
			check_cancelled();
			if (before / bytes_between_checks != (before + bytes) / bytes_between_checks)
				freeze.check();
		});
	}
}

// Nobody else is connected, and nobody can be until the transaction ends.
void expel_sessions()
{
	pg::call([] {
		LockSharedObject(DatabaseRelationId, MyDatabaseId, 0, ShareLock);
		TerminateOtherDBBackends(MyDatabaseId);
		int others, prepared;
		if (CountOtherDBBackends(MyDatabaseId, &others, &prepared))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("%d sessions of the database did not end", others)));
	});
}

// One attempt. False: something was in the way, and nothing has been done.
bool copy_frozen(Oid copy, bool sealed, const std::function<void()> &finish, std::string &obstacle)
{
	const Request &request = current().request;
	check_freezable(MyDatabaseId);
	if (request.mode == Mode::exclusive)
		expel_sessions();
	catalog::hold_database(copy); // against DROP DATABASE, while its files are being made
	Freeze freeze;
	if (!freeze.take(MyDatabaseId, request.gate_timeout_ms)) {
		obstacle = freeze.obstacle;
		return false;
	}
	reach("frozen");
	copy_files(copy, freeze);
	reach("copied");
	show(Phase::syncing);
	freeze.check();
	catalog::complete_database(copy, MyDatabaseId, sealed);
	catalog::label(copy, R"({"state": null})");
	finish();
	reach("completing");
	return true;
}

void pause_for(int milliseconds)
{
	show(Phase::retrying);
	TimestampTz until = GetCurrentTimestamp() + (int64) milliseconds * 1000;
	while (GetCurrentTimestamp() < until) {
		check_cancelled();
		pg::call([] {
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20, PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
		});
	}
}

void copy_until_done(Oid copy, bool sealed, const std::function<void()> &finish)
{
	TimestampTz deadline = GetCurrentTimestamp() + (int64) current().request.timeout_ms * 1000;
	for (int pause = first_pause_ms;; pause = std::min(pause * 2, longest_pause_ms)) {
		std::string obstacle;
		bool is_done = false;
		pg_atomic_fetch_add_u32(&current().attempts, 1);
		pg::transact("copying a database", [&] { is_done = copy_frozen(copy, sealed, finish, obstacle); });
		if (is_done)
			return;
		if (GetCurrentTimestamp() >= deadline)
			throw pg::Failure({.sqlstate = "55006",
							   .message = "the database did not come to rest in time",
							   .detail = "In the way: " + obstacle + ".",
							   .hint = "End those transactions, or give it more time: options => '{\"timeout\": \"10 "
									   "min\", \"gate_timeout\": \"5 s\"}'."});
		pause_for(pause + MyProcPid % pause); // two that are in each other's way do not try again at the same time
	}
}

} // namespace

Oid begin_copy(const std::function<Intent()> &prepare)
{
	Oid copy = InvalidOid;
	pg::transact("beginning to copy a database", [&] {
		Intent intent = prepare();
		copy = catalog::insert_database(MyDatabaseId, intent.database);
		catalog::label(copy, intent.label);
		catalog::label(copy, R"({"state": "copying"})");
	});
	reach("intent");
	return copy;
}

void complete_copy(Oid copy, bool sealed, const std::function<void()> &finish)
{
	try {
		copy_until_done(copy, sealed, finish);
	} catch (const pg::Failure &) {
		try {
			remove_database(copy, 0);
		} catch (const pg::Failure &remains) {
			ereport(LOG, (errmsg("what was copied of a database is left to be removed later: %s", remains.what())));
		}
		throw;
	}
	reach("completed");
}

void remove_database(Oid database, TimestampTz trashed_before)
{
	show(Phase::removing);
	pg::transact("dropping a database", [&] {
		// It may have been taken back, or renamed, until now; not from here on.
		(void) catalog::lock_family(database);
		catalog::lock_database(database);
		const catalog::Family family = catalog::read_family(database);
		const catalog::Member *member = family.find(database);
		bool is_ours = member != nullptr && (member->is_copying || member->kind == Kind::spare ||
											 (member->kind == Kind::trash && member->trashed_at <= trashed_before));
		if (!is_ours)
			return;
		reach("removing");
		worker::evict(database);
		pg::call([&] { dropdb(member->database.c_str(), true, true); });
	});
}

} // namespace pgbraid::branch
