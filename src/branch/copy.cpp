#include "branch/copy.h"

#include "branch/cloning.h"
#include "branch/freeze.h"
#include "branch/method.h"
#include "branch/process.h"
#include "branch/storage.h"
#include "catalog/branches.h"
#include "catalog/databases.h"
#include "worker/pause.h"

extern "C" {
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
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

struct Files {
	Oid copy;
	Freeze &freeze;
	std::vector<Stored> relations;
	size_t done = 0;
};

// Up to the relation of that number.
template <typename F>
void copy_each(Files &files, size_t end, F copy_one)
{
	for (; files.done < end; files.done++) {
		if (files.done == files.relations.size() / 2)
			reach("half");
		copy_one(files.relations[files.done], files.copy, [&](int64 bytes) {
			uint64 before = pg_atomic_fetch_add_u64(&current().bytes_done, bytes);
			check_cancelled();
			if (before / bytes_between_checks != (before + bytes) / bytes_between_checks)
				files.freeze.check();
		});
	}
}

// Sequences come later, page by page: a copy of one has a change.
void clone_files(Files &files)
{
	auto is_cloned = [](const Stored &relation) { return !relation.is_sequence; };
	auto end = std::stable_partition(files.relations.begin(), files.relations.end(), is_cloned);
	const std::vector<Oid> tablespaces = tablespaces_of(files.relations);
	write_out(tablespaces, false);
	copy_each(files, end - files.relations.begin(), clone_relation);
	log_clones(files.copy, tablespaces);
	check_nobody_replays(); // who comes later begins after the record
	files.freeze.check();	// which pages have been pruned, too
	for (const PageNumber &page : files.freeze.pruned())
		log_pruned(page, files.copy);
}

void copy_files(Files &files, bool is_cloned)
{
	show(Phase::copying);
	files.relations = read_relations();
	int64 total = 0;
	for (const Stored &relation : files.relations)
		total += size_of(relation);
	pg_atomic_write_u64(&current().bytes_done, 0);
	pg_atomic_write_u64(&current().bytes_total, (uint64) total);
	make_database_directory(MyDatabaseId, files.copy, MyDatabaseTableSpace);
	reach("copying");
	if (is_cloned)
		clone_files(files);
	copy_each(files, files.relations.size(), copy_relation);
}

// From here on nobody has to wait for what is only slow.
void make_durable(Files &files)
{
	files.freeze.open_gate();
	sync_clones(files.relations, files.copy);
	pg::call([] { pg::checkpoint_now(); });
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

// What makes it valid; all that depends on the source, which still stands still.
void complete(Oid copy, bool sealed, bool is_cloned, const Finish &finish)
{
	catalog::complete_database(copy, MyDatabaseId, sealed);
	catalog::label(copy, R"({"state": null})");
	finish(is_cloned);
}

// One attempt. False: something was in the way, and nothing has been done.
bool copy_frozen(Oid copy, bool sealed, const Finish &finish, std::string &obstacle)
{
	const Request &request = current().request;
	check_freezable();
	if (request.mode == Mode::exclusive)
		expel_sessions();
	catalog::hold_database(copy); // against DROP DATABASE, while its files are being made
	const bool is_cloned = chooses_clone(request.method, copy);
	if (is_cloned)
		write_out(tablespaces_of(read_relations()), true); // so that there is less to write while others wait
	Freeze freeze;
	if (!freeze.take(request.gate_timeout_ms)) {
		obstacle = freeze.obstacle;
		return false;
	}
	reach("frozen");
	Files files{.copy = copy, .freeze = freeze, .relations = {}};
	copy_files(files, is_cloned);
	reach("copied");
	show(Phase::syncing);
	freeze.check();
	complete(copy, sealed, is_cloned, finish);
	if (is_cloned)
		make_durable(files);
	reach("completing");
	return true;
}

void pause_for(int milliseconds)
{
	show(Phase::retrying);
	TimestampTz until = GetCurrentTimestamp() + (int64) milliseconds * 1000;
	while (GetCurrentTimestamp() < until)
		nap(20);
}

void copy_until_done(Oid copy, bool sealed, const Finish &finish)
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

void complete_copy(Oid copy, bool sealed, const Finish &finish)
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
