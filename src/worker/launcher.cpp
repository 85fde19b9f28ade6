#include "worker/launcher.h"

#include "pg/background.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/wait.h"
#include "worker/process.h"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "postmaster/bgworker.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <vector>

namespace pgbraid::worker {

namespace {

constexpr long look_again_ms = 10 * 1000;

struct Database {
	Oid oid;
	NameData name;
};

// Every database that a worker can connect to. Only shared catalogs can be read without being connected to one.
std::vector<Database> databases()
{
	std::vector<Database> found;
	pg::call([&] {
		StartTransactionCommand();
		(void) GetTransactionSnapshot();
		Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
		TableScanDesc scan = table_beginscan_catalog(catalog, 0, nullptr);
		while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
			auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
			if (database->datallowconn && database->datconnlimit != DATCONNLIMIT_INVALID_DB)
				found.push_back({database->oid, database->datname});
		}
		table_endscan(scan);
		table_close(catalog, AccessShareLock);
		CommitTransactionCommand();
	});
	return found;
}

Entry *manager_entry(const Database &database)
{
	Lock lock(Lock::exclusive);
	Entry *entry = find(Kind::manager, database.oid);
	if (entry == nullptr) {
		entry = add(Kind::manager, database.oid, 0, NameStr(database.name));
	}
	if (entry != nullptr)
		entry->name = entry->database_name = database.name; // it may have been renamed
	return entry;
}

void start_manager(const Database &database)
{
	Entry *entry = manager_entry(database);
	if (entry == nullptr) {
		ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("no entry is free for the manager of database \"%s\"", NameStr(database.name)),
						  errhint("Increase pgbraid.max_workers in postgresql.conf and restart the server.")));
		return;
	}
	if (entry->state == State::stopped)
		launch(*entry);
}

// Entries of databases that are gone are free again; managers that died are started again when their time has come.
void tend(const std::vector<Database> &existing)
{
	TimestampTz now = GetCurrentTimestamp();
	for (int i = 0; i < entry_count(); i++) {
		Entry &entry = entries()[i];
		if (entry.kind == Kind::none || entry.database == InvalidOid || entry.pid != 0)
			continue;
		auto same = [&](const Database &database) { return database.oid == entry.database; };
		if (std::none_of(existing.begin(), existing.end(), same)) {
			Lock lock(Lock::exclusive);
			if (entry.pid == 0)
				free_entry(entry);
		} else if (entry.kind == Kind::manager) {
			reap(entry);
			if ((entry.state == State::stopped || entry.state == State::failed) && entry.next_start_at <= now)
				launch(entry);
		}
	}
}

// At the start of the server nobody knows which databases have flows: a manager is started in each, a few at a time,
// and leaves at once where there are none.
class Probe {
public:
	void restart(std::vector<Database> databases) { left_ = std::move(databases); }
	bool done() const { return left_.empty(); }
	void step()
	{
		for (int running = launching(); running < at_once && !left_.empty(); running++) {
			start_manager(left_.back());
			left_.pop_back();
		}
	}

private:
	static constexpr int at_once = 2;
	static int launching()
	{
		Lock lock(Lock::shared);
		return (int) std::count_if(entries(), entries() + entry_count(), [](const Entry &entry) {
			return entry.kind == Kind::manager && (entry.state == State::launching || entry.state == State::starting);
		});
	}
	std::vector<Database> left_;
};

// Those whose commit has told of a change; asked before the databases are read, which may be there by that commit.
struct Touched {
	Oid databases[64];
	int count = 0;
	bool all = false; // more than there is room for
};

Touched take_all_touched()
{
	Touched touched;
	touched.all = take_touched(touched.databases, (int) std::size(touched.databases), &touched.count);
	return touched;
}

void start_touched(const Touched &touched, const std::vector<Database> &existing, Probe &probe)
{
	if (touched.all)
		probe.restart(existing);
	for (int i = 0; i < touched.count; i++)
		for (const Database &database : existing)
			if (database.oid == touched.databases[i])
				start_manager(database);
}

// It connects to a database that others copy and drop least.
const Database *database_for_keeper(const std::vector<Database> &existing)
{
	auto named = [](const char *name) {
		return [name](const Database &database) { return strcmp(NameStr(database.name), name) == 0; };
	};
	auto found = std::find_if(existing.begin(), existing.end(), named("postgres"));
	if (found == existing.end())
		found = std::find_if(existing.begin(), existing.end(), named("template1"));
	return found == existing.end() ? nullptr : &*found;
}

Entry *find_keeper()
{
	Lock lock(Lock::shared);
	for (int i = 0; i < entry_count(); i++)
		if (entries()[i].kind == Kind::keeper)
			return &entries()[i];
	return nullptr;
}

void start_keeper(Entry *entry, const Database &database)
{
	{
		Lock lock(Lock::exclusive);
		if (entry == nullptr)
			entry = add(Kind::keeper, database.oid, 0, "branches");
		if (entry != nullptr) {
			entry->database = database.oid;
			entry->database_name = database.name;
		}
	}
	if (entry != nullptr)
		launch(*entry);
	if (entry == nullptr || (entry->state != State::launching && entry->next_start_at == 0)) // its database is held
		want_keeper(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), look_again_ms));
}

// What a crash has left is removed with the first one, right after the start of the server. Returns when the next one
// is wanted; 0 while there is one.
TimestampTz keep_branches(const std::vector<Database> &existing)
{
	const Database *database = database_for_keeper(existing);
	Entry *entry = find_keeper();
	TimestampTz now = GetCurrentTimestamp();
	if (database == nullptr || (entry != nullptr && entry->pid != 0))
		return 0;
	if (entry != nullptr) {
		reap(*entry);
		if (entry->state == State::launching || entry->next_start_at > now)
			return entry->next_start_at;
	}
	bool was_cut_short = entry != nullptr && entry->next_start_at != 0;
	TimestampTz wanted = was_cut_short ? 0 : take_keeper_wanted(now);
	if (wanted != 0)
		return wanted;
	start_keeper(entry, *database);
	return 0;
}

long until_next_start(TimestampTz keeper_at)
{
	TimestampTz now = GetCurrentTimestamp();
	long least = look_again_ms;
	if (keeper_at != 0)
		least = Min(least, TimestampDifferenceMilliseconds(now, keeper_at) + 1);
	Lock lock(Lock::shared);
	for (int i = 0; i < entry_count(); i++) {
		const Entry &entry = entries()[i];
		if (entry.kind == Kind::manager && entry.pid == 0 && entry.next_start_at > 0 && !is_held(entry.database))
			least = Min(least, TimestampDifferenceMilliseconds(now, entry.next_start_at) + 1);
	}
	return Max(least, 20L);
}

void run()
{
	set_state(State::running);
	pg::Waiter waiter("PgbraidLauncher");
	Probe probe;
	probe.restart(databases());
	for (;;) {
		const Touched touched = take_all_touched();
		std::vector<Database> existing = databases();
		start_touched(touched, existing, probe);
		tend(existing);
		probe.step();
		TimestampTz keeper_at = keep_branches(existing);
		waiter.wait(probe.done() ? until_next_start(keeper_at) : 20);
	}
}

} // namespace

void register_launcher()
{
	BackgroundWorker worker = pg::background_worker("pgbraid_launcher_main", "pgbraid launcher", "pgbraid launcher");
	// Nothing of ours runs on a standby, and everything does after its promotion.
	worker.bgw_restart_time = 1;
	worker.bgw_notify_pid = 0;
	RegisterBackgroundWorker(&worker);
}

} // namespace pgbraid::worker

PGBRAID_EXPORT void pgbraid_launcher_main(Datum)
{
	pgbraid::worker::attach_launcher();
	pgbraid::pg::enter(pgbraid::worker::run);
}
