// One per database that has something to do: compares what the catalog wants with what runs, and mends the difference.
#include "catalog/branches.h"
#include "catalog/flows.h"
#include "catalog/jobs.h"
#include "pg/transaction.h"
#include "pg/wait.h"
#include "worker/process.h"
#include "worker/retention.h"

extern "C" {
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
}

#include <algorithm>

namespace pgbraid::worker {

namespace {

using catalog::Flow;

constexpr long look_again_ms = 60 * 1000;
constexpr long look_at_wal_ms = 5 * 1000;

Entry *entry_of(const Flow &flow)
{
	Lock lock(Lock::exclusive);
	Entry *entry = find(Kind::flow, MyDatabaseId, flow.id);
	if (entry == nullptr)
		entry = add(Kind::flow, MyDatabaseId, flow.id, flow.name.c_str());
	if (entry == nullptr)
		return nullptr;
	namestrcpy(&entry->name, flow.name.c_str());
	entry->database_name = self().database_name;
	return entry;
}

void start(Entry &entry, const Flow &flow)
{
	{
		Lock lock(Lock::exclusive);
		if (entry.revision != flow.revision) {
			entry.failures = 0;
			entry.revision = flow.revision;
			entry.state = State::stopped;
		} else if (entry.next_start_at > GetCurrentTimestamp()) {
			return;
		}
	}
	launch(entry);
}

// True when the flow must not run now.
bool enforce_wal_limit(const Flow &flow, Entry &entry)
{
	Verdict verdict = judge_retention(flow, entry);
	if (verdict == Verdict::none)
		return false;
	if (verdict == Verdict::pause) {
		if (!flow.paused)
			pg::in_transaction("pausing a flow", [&] { catalog::pause_flow(flow.id); });
		return false;
	}
	if (entry.pid == 0 && entry.state != State::launching) {
		pg::in_transaction("dropping a slot", [&] { catalog::drop_slot(flow.id); });
		return false; // it will find that it is lost
	}
	Lock lock(Lock::exclusive);
	request_stop(entry);
	return true;
}

// One step towards what the flow should be: running with the current definition, or not at all.
void settle(const Flow &flow)
{
	Entry *entry = entry_of(flow);
	if (entry == nullptr) {
		ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("no entry is free for flow \"%s\"", flow.name.c_str()),
						  errhint("Increase pgbraid.max_workers in postgresql.conf and restart the server.")));
		return;
	}
	reap(*entry);
	if (enforce_wal_limit(flow, *entry))
		return;
	if (entry->pid != 0 || entry->state == State::launching) {
		if (flow.shall_run() && entry->revision == flow.revision)
			return;
		Lock lock(Lock::exclusive);
		request_stop(*entry);
		return;
	}
	if (!flow.shall_run()) {
		entry->next_start_at = 0;
		return;
	}
	if (entry->state == State::lost && entry->revision == flow.revision)
		return;
	start(*entry, flow);
}

Entry *scheduler_entry()
{
	Lock lock(Lock::exclusive);
	Entry *entry = find(Kind::scheduler, MyDatabaseId);
	if (entry == nullptr)
		entry = add(Kind::scheduler, MyDatabaseId, 0, NameStr(self().database_name));
	if (entry != nullptr)
		entry->database_name = self().database_name;
	return entry;
}

// It leaves by itself when there are no jobs any more.
void settle_scheduler(bool has_jobs)
{
	if (!has_jobs)
		return;
	Entry *entry = scheduler_entry();
	if (entry == nullptr) {
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("no entry is free for the scheduler of jobs"),
				 errhint("Increase pgbraid.max_workers in postgresql.conf and restart the server.")));
		return;
	}
	reap(*entry);
	bool is_away = entry->pid == 0 && entry->state != State::launching;
	if (is_away && entry->next_start_at <= GetCurrentTimestamp())
		launch(*entry);
}

// Entries of flows that no longer exist. True when none is left.
bool clear_strays(const std::vector<Flow> &flows)
{
	bool clear = true;
	Lock lock(Lock::exclusive);
	for (int i = 0; i < entry_count(); i++) {
		Entry &entry = entries()[i];
		auto same = [&](const Flow &flow) { return flow.id == entry.object; };
		if (entry.kind != Kind::flow || entry.database != MyDatabaseId || std::any_of(flows.begin(), flows.end(), same))
			continue;
		request_stop(entry);
		clear = clear && entry.pid == 0;
		if (entry.pid == 0)
			free_entry(entry);
	}
	return clear;
}

bool has_wal_limit(const std::vector<Flow> &flows)
{
	return std::any_of(flows.begin(), flows.end(), [](const Flow &flow) { return flow.wal_limit > 0; });
}

bool may_retire(const std::vector<Flow> &flows)
{
	if (has_wal_limit(flows))
		return false; // also of those that are paused
	Lock lock(Lock::shared);
	return std::none_of(flows.begin(), flows.end(), [](const Flow &flow) {
		Entry *entry = find(Kind::flow, MyDatabaseId, flow.id);
		bool settled = entry != nullptr && entry->pid == 0 && entry->state != State::launching &&
					   (!flow.shall_run() || (entry->state == State::lost && entry->revision == flow.revision));
		return !settled;
	});
}

long until_next_start()
{
	TimestampTz now = GetCurrentTimestamp();
	long least = look_again_ms;
	Lock lock(Lock::shared);
	for (int i = 0; i < entry_count(); i++) {
		const Entry &entry = entries()[i];
		if ((entry.kind != Kind::flow && entry.kind != Kind::scheduler) || entry.database != MyDatabaseId)
			continue;
		if (entry.pid == 0 && entry.next_start_at > 0)
			least = Min(least, TimestampDifferenceMilliseconds(now, entry.next_start_at) + 1);
		if (entry.state == State::launching || entry.stop_requested)
			least = Min(least, 200L);
	}
	return Max(least, 20L);
}

// It may have been given another one.
void take_up_name()
{
	std::string name = catalog::name_of_database(MyDatabaseId);
	Lock lock(Lock::exclusive);
	namestrcpy(&self().name, name.c_str());
	self().database_name = self().name;
}

struct Wanted {
	bool extension_exists;
	std::vector<Flow> flows;
	bool has_jobs;
};

Wanted read_wanted()
{
	return pg::in_transaction("reading pgbraid.flows", [] {
		take_up_name();
		auto flows = catalog::read_flows();
		return Wanted{flows.has_value(), flows.value_or(std::vector<Flow>{}), catalog::has_jobs()};
	});
}

// Where a branch was made of the database that a flow ran in. That changes the catalog, so all is read again.
void begin_anew(const std::vector<Flow> &flows)
{
	for (const Flow &flow : flows)
		if (flow.shall_begin_anew())
			pg::in_transaction("beginning a flow in a new branch", [&] { catalog::begin_anew(flow.id); });
}

bool drop_orphan_slots(bool extension_exists)
{
	return pg::in_transaction("dropping slots without a flow",
							  [=] { return catalog::drop_orphan_slots(extension_exists); });
}

void run()
{
	set_state(State::running);
	pg::Waiter waiter("PgbraidManager");
	for (;;) {
		uint32 touched = pg_atomic_read_u32(&self().touched);
		Wanted wanted = read_wanted();
		begin_anew(wanted.flows);
		bool slots_clear = false;
		while (pg_atomic_read_u32(&self().touched) == touched) {
			bool clear = clear_strays(wanted.flows);
			if (clear && !slots_clear)
				slots_clear = drop_orphan_slots(wanted.extension_exists);
			for (const Flow &flow : wanted.flows)
				settle(flow);
			settle_scheduler(wanted.has_jobs);
			if (clear && slots_clear && !wanted.has_jobs && may_retire(wanted.flows))
				retire(touched, wanted.flows.empty());
			long patience = has_wal_limit(wanted.flows) ? Min(until_next_start(), look_at_wal_ms) : until_next_start();
			waiter.wait(clear && slots_clear ? patience : 50);
		}
	}
}

} // namespace

} // namespace pgbraid::worker

PGBRAID_EXPORT void pgbraid_manager_main(Datum argument)
{
	pgbraid::worker::attach(argument);
	pgbraid::pg::enter(pgbraid::worker::run);
}
